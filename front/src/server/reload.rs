//! What can be done with a front that runs: give it a new configuration, all of it or nothing; give its sockets on.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use super::{Serving, sockets::Estate};
use crate::{Cluster, Error, FrontConfig, Route, Spoken, router::Router};

/// What can be done with a front while it runs. Cheap to clone; outlives the front.
#[derive(Clone)]
pub struct Handle {
    serving: Arc<Serving>,
    estate: Estate,
}

/// What a new configuration changed in the routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Routes that are new.
    pub added: Vec<String>,
    /// Routes that are no more. Their event streams go on until they end by themselves.
    pub removed: Vec<String>,
    /// Routes that lead elsewhere or have other limits.
    pub changed: Vec<String>,
}

impl Handle {
    pub(super) fn new(serving: Arc<Serving>, estate: Estate) -> Self {
        Self { serving, estate }
    }

    /// What the services of the front share.
    pub fn cluster(&self) -> &Cluster {
        &self.serving.cluster
    }

    /// Puts a configuration in force. Requests in flight keep the routing table they began with, queues what is known
    /// of them, and open event streams go on. Where the front listens cannot change; `listen` is not looked at.
    ///
    /// Errors: [`Error::Routes`], [`Error::Certificates`]; then everything is as it was.
    pub fn reload(&self, mut config: FrontConfig) -> Result<Reloaded, Error> {
        let Serving { cluster, router, .. } = &*self.serving;
        let before = cluster.shared.config.load_full();
        config.listen.clone_from(&before.listen);
        config.tls.listen.clone_from(&before.tls.listen);
        config.admin.clone_from(&before.admin);
        let table = Router::new(cluster, &config)?;
        if let Some(tls) = &self.serving.tls {
            tls.reload(&config.tls.certificates).map_err(Error::Certificates)?;
        }
        let reloaded = Reloaded::between(&before, &config);
        // Nothing can fail from here on.
        cluster.announce(table.queues().to_vec());
        cluster.shared.config.store(Arc::new(config));
        router.store(Arc::new(table));
        Ok(reloaded)
    }

    /// Another descriptor of every socket the front listens on, to be given to the front that takes its place.
    ///
    /// Errors: the process has no descriptors left.
    pub fn sockets(&self) -> std::io::Result<Vec<(Spoken, OwnedFd)>> {
        self.estate.duplicate()
    }

    /// Says that another front serves on these sockets. When this one stops, it leaves them at once: clients and load
    /// balancers should meet the other one only, which is ready.
    pub fn replaced(&self) {
        self.serving.replaced.store(true, Ordering::Relaxed);
        // Probes and scrapes of the shared socket are for the other one, too.
        self.serving.silent.cancel();
    }
}

impl Reloaded {
    fn between(before: &FrontConfig, now: &FrontConfig) -> Self {
        let routes = |config: &FrontConfig| config.checked_routes().unwrap_or_default();
        let (before, now) = (routes(before), routes(now));
        let (known, current) = (by_name(&before), by_name(&now));
        let missing = |routes: &[Route], others: &HashMap<String, &Route>| {
            routes.iter().map(name).filter(|name| !others.contains_key(name)).collect()
        };
        let differs = |route: &&Route| known.get(&name(route)).is_some_and(|earlier| earlier != route);
        Self {
            added: missing(&now, &known),
            removed: missing(&before, &current),
            changed: now.iter().filter(differs).map(name).collect(),
        }
    }
}

fn by_name(routes: &[Route]) -> HashMap<String, &Route> {
    routes.iter().map(|route| (name(route), route)).collect()
}

/// What requests it takes: `GET,POST example.org/users/{id}`.
fn name(route: &Route) -> String {
    let methods = route.methods.join(",");
    format!("{methods} {}{}", route.host.as_deref().unwrap_or_default(), route.path).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, queue: &str, methods: &[&str]) -> Route {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        Route { path: path.into(), queue: Some(queue.into()), methods, ..Route::default() }
    }

    #[test]
    fn says_which_routes_came_went_and_changed() {
        let with = |routes: Vec<Route>| FrontConfig { routes, ..FrontConfig::default() };
        let before = with(vec![route("/a", "x", &[]), route("/b", "x", &["GET"]), route("/c", "x", &[])]);
        let now = with(vec![route("/a", "y", &[]), route("/b", "x", &["PUT"]), route("/c", "x", &[])]);
        let expected = Reloaded {
            added: vec!["PUT /b".into()],
            removed: vec!["GET /b".into()],
            changed: vec!["/a".into()],
        };
        assert_eq!(Reloaded::between(&before, &now), expected);
        assert_eq!(Reloaded::between(&now, &now), Reloaded::default());
        let to_defaults = Reloaded::between(&now, &FrontConfig::default());
        assert_eq!(to_defaults.added, ["/sub/{*topic}", "/{*rest}"]);
    }
}
