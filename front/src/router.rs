//! Which route a request takes: by host, then path, then method.

use std::{collections::HashMap, sync::Arc};

use axum::body::Body;
use http::{Method, Request, Response};
use matchit::Router as PathRouter;
use tempest_protocol::{Code, Queue};

use crate::{
    Cluster, Error, FrontConfig, Refusal, Route, Sub, Work,
    caller::Caller,
    files::Files,
    metrics::{RouteName, Traffic},
    policy::Policy,
    push::Push,
    status::Status,
    translate,
};

/// The routing table.
pub(crate) struct Router {
    /// Routes that name a host, by that host.
    hosts: HashMap<String, PathRouter<Vec<Arc<Entry>>>>,
    any_host: PathRouter<Vec<Arc<Entry>>>,
    queues: Vec<Queue>,
    /// `/files/{*rest}` is also for `/files/`, which the pattern alone does not match: host, path and entry. They come
    /// last, so that a route for just this path wins.
    folders: Vec<(Option<String>, String, Arc<Entry>)>,
}

struct Entry {
    /// As the route says it.
    path: String,
    methods: Vec<Method>,
    target: Target,
    policy: Option<Policy>,
    traffic: Arc<Traffic>,
}

impl Entry {
    /// Whether this entry takes every request that a later one for the same path would take.
    fn hides(&self, later: &Self) -> bool {
        let takes_all = self.methods.is_empty();
        takes_all
            || (!later.methods.is_empty() && later.methods.iter().all(|method| self.methods.contains(method)))
    }
}

enum Target {
    Work(Work),
    Push(Push),
    Status(Status),
    Sub(Sub),
    Files(Files),
}

/// Parts of the path that the pattern named, still percent-encoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathParams(Vec<(String, String)>);

impl PathParams {
    /// One part, still percent-encoded.
    pub(crate) fn of(name: &str, part: &str) -> Self {
        Self(vec![(name.to_owned(), part.to_owned())])
    }

    /// Puts the parts into a template.
    pub(crate) fn fill(&self, template: &str) -> String {
        self.0
            .iter()
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// The part of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", |(_, value)| value)
    }
}

impl Router {
    /// Builds the table of a configuration that need not be in force yet. Of several routes for one path the first that
    /// takes the method wins.
    ///
    /// Errors: every mistake in it.
    pub(crate) fn new(cluster: &Cluster, config: &FrontConfig) -> Result<Self, Error> {
        let mut router = Self {
            hosts: HashMap::new(),
            any_host: PathRouter::new(),
            queues: Vec::new(),
            folders: Vec::new(),
        };
        let mut wrong = Vec::new();
        for route in &config.checked_routes().map_err(Error::Routes)? {
            wrong.extend(router.add(cluster, config, route).err());
        }
        for (host, folder, entry) in std::mem::take(&mut router.folders) {
            wrong.extend(insert(router.paths(host.as_deref()), &folder, &entry).err());
        }
        if wrong.is_empty() { Ok(router) } else { Err(Error::Routes(wrong)) }
    }

    /// The queues of all routes.
    pub(crate) fn queues(&self) -> &[Queue] {
        &self.queues
    }

    fn add(&mut self, cluster: &Cluster, config: &FrontConfig, route: &Route) -> Result<(), String> {
        let target = Target::of(cluster, config, route).map_err(|error| error.to_string())?;
        if let Some(queue) = &route.queue {
            self.queues.push(Queue::new(queue).map_err(|error| error.to_string())?);
        }
        let methods = route.methods.iter().filter_map(|method| method.parse().ok()).collect();
        let policy = Policy::of(route, config);
        let traffic = cluster.shared.metrics.traffic(name(route));
        let entry = Arc::new(Entry { path: route.path.clone(), methods, target, policy, traffic });
        let host = route.host.as_ref().map(|host| host.to_ascii_lowercase());
        if let Some((folder, _)) = route.path.rsplit_once("{*")
            && route.topic.is_none()
        {
            self.folders.push((host.clone(), folder.to_owned(), entry.clone()));
        }
        match insert(self.paths(host.as_deref()), &route.path, &entry)? {
            Reach::Some => Ok(()),
            Reach::None => {
                Err(format!("route path {:?} stands twice; the second one is never reached", route.path))
            }
        }
    }

    fn paths(&mut self, host: Option<&str>) -> &mut PathRouter<Vec<Arc<Entry>>> {
        match host {
            Some(host) => self.hosts.entry(host.to_owned()).or_default(),
            None => &mut self.any_host,
        }
    }

    /// The route a request takes.
    ///
    /// Errors: there is none for its path, or none for its method.
    pub(crate) fn find(&self, request: &Request<Body>) -> Result<Found, Refusal> {
        // `OPTIONS *` asks about the whole server.
        let path = if request.uri().path() == "*" { "/" } else { request.uri().path() };
        let found = self.of_host(request).and_then(|paths| paths.at(path).ok());
        let found =
            found.or_else(|| self.any_host.at(path).ok()).ok_or_else(|| Refusal::new(Code::NotFound))?;
        let takes = |entry: &&Arc<Entry>| {
            let head = request.method() == Method::HEAD && entry.methods.contains(&Method::GET);
            entry.methods.is_empty() || entry.methods.contains(request.method()) || head
        };
        let entry = found.value.iter().find(takes).ok_or_else(|| not_allowed(found.value))?;
        let params = match entry.target {
            Target::Work(_) | Target::Push(_) => Vec::new(), // the worker reads the path itself
            _ => found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        Ok(Found { entry: entry.clone(), params: PathParams(params) })
    }

    fn of_host(&self, request: &Request<Body>) -> Option<&PathRouter<Vec<Arc<Entry>>>> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = translate::host(request.uri(), request.headers())?.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        self.hosts.get(name)
    }
}

/// The route of a request.
pub(crate) struct Found {
    entry: Arc<Entry>,
    params: PathParams,
}

impl Found {
    /// The path as the route says it, with the names of its parts.
    pub(crate) fn path(&self) -> &str {
        &self.entry.path
    }

    /// Where its requests are counted.
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.entry.traffic
    }

    /// Whether it may open an event stream.
    pub(crate) fn is_topic(&self) -> bool {
        matches!(self.entry.target, Target::Sub(_))
    }

    /// The queue's service, if nothing else is said of the route's requests: they can go straight to it.
    pub(crate) fn work(&self) -> Option<&Work> {
        match (&self.entry.target, &self.entry.policy) {
            (Target::Work(work), None) => Some(work),
            _ => None,
        }
    }

    /// Answers the request; the time of a job is in the extensions of the response.
    pub(crate) async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let Self { entry, params } = self;
        match &entry.policy {
            None => entry.target.answer(params, request).await,
            Some(policy) => {
                let call = |request| {
                    let (entry, params) = (entry.clone(), params.clone());
                    async move { entry.target.answer(params, request).await }
                };
                policy.answer(request, call).await
            }
        }
    }
}

/// How a route is shown.
fn name(route: &Route) -> RouteName {
    let target = match route {
        Route { topic: Some(_), .. } => "topic",
        Route { static_dir: Some(_), .. } => "static",
        Route { jobs: true, .. } => "jobs",
        Route { background: true, .. } => "background",
        _ => "queue",
    };
    RouteName {
        route: format!("{}{}", route.host.as_deref().unwrap_or_default(), route.path),
        target,
        queue: route.queue.clone().unwrap_or_default(),
    }
}

/// Whether any request comes as far as an entry.
enum Reach {
    Some,
    None,
}

fn insert(paths: &mut PathRouter<Vec<Arc<Entry>>>, path: &str, entry: &Arc<Entry>) -> Result<Reach, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("route path {path:?}: {error}");
    match paths.insert(path, vec![entry.clone()]) {
        Ok(()) => return Ok(Reach::Some),
        // The same pattern again, for other methods.
        Err(matchit::InsertError::Conflict { with }) if with == path => {}
        Err(error) => return Err(wrong(&error)),
    }
    let known = paths.at_mut(path).map_err(|error| wrong(&error))?.value;
    if known.iter().any(|earlier| earlier.hides(entry)) {
        return Ok(Reach::None);
    }
    known.push(entry.clone());
    Ok(Reach::Some)
}

fn not_allowed(entries: &[Arc<Entry>]) -> Refusal {
    let mut methods = Vec::new();
    for method in entries.iter().flat_map(|entry| entry.methods.iter()) {
        let with_head = (*method == Method::GET).then_some(Method::HEAD.as_str());
        for name in [Some(method.as_str()), with_head].into_iter().flatten() {
            if !methods.contains(&name) {
                methods.push(name);
            }
        }
    }
    Refusal::method_not_allowed(methods.join(", "))
}

impl Target {
    /// Where a route leads that was checked.
    fn of(cluster: &Cluster, config: &FrontConfig, route: &Route) -> Result<Self, Error> {
        Ok(match route {
            Route { topic: Some(topic), streams_per_client_max: per_client, .. } => {
                let sub = Sub::new(cluster.clone(), Some(topic.as_str().into()));
                Self::Sub(sub.per_client(*per_client))
            }
            Route { static_dir: Some(folder), .. } => Self::Files(Files::new(folder, route)),
            Route { jobs: true, .. } => Self::Status(Status::new(cluster, config, route)),
            Route { background: true, .. } => Self::Push(cluster.background_under(config, route)?),
            _ => Self::Work(cluster.work_under(config, route)?),
        })
    }

    async fn answer(
        &self,
        params: PathParams,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        match self {
            Self::Work(work) => {
                let caller = Caller::of(&request);
                let (mut response, time) = work.answer(&mut request, &caller).await?;
                response.extensions_mut().insert(time);
                Ok(response)
            }
            Self::Push(push) => push.answer(request).await,
            Self::Status(status) => status.answer(&params, request.method(), request.uri()).await,
            Self::Sub(sub) => {
                request.extensions_mut().insert(params);
                sub.answer(request).await
            }
            Self::Files(files) => files.answer(params.last(), request).await,
        }
    }
}
