//! Which pages of other origins may read responses (Fetch standard, "CORS protocol").

use axum::body::Body;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    },
};

use crate::config::Cors as Settings;

/// Every field that belongs to the protocol: a worker's own are replaced.
pub(super) const FIELDS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// What a route allows.
pub(super) struct Cors {
    settings: Settings,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
}

impl Cors {
    /// The settings were checked before.
    pub(super) fn new(settings: Settings) -> Self {
        let list = |names: &[String]| HeaderValue::try_from(names.join(", ")).ok();
        let harmless = ["GET", "HEAD", "POST"].map(str::to_owned);
        Self {
            methods: list(&[&harmless[..], &settings.methods].concat())
                .unwrap_or(HeaderValue::from_static("GET")),
            headers: list(&settings.headers).filter(|_| !settings.headers.is_empty()),
            expose: list(&settings.expose).filter(|_| !settings.expose.is_empty()),
            settings,
        }
    }

    /// The answer to a question a browser asks before the request itself; none for any other request.
    pub(super) fn preflight(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !headers.contains_key(ORIGIN) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let told = response.headers_mut();
        for field in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            told.append(http::header::VARY, HeaderValue::from_name(field));
        }
        if self.allowed(headers).is_some() {
            told.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            told.extend(self.headers.clone().map(|value| (ACCESS_CONTROL_ALLOW_HEADERS, value)));
            told.extend(self.settings.max_age_s.map(|age| (ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age))));
        }
        Some(response)
    }

    /// The fields that responses to a request with these get, its refusals too. None of them if its origin may not
    /// read them.
    pub(super) fn fields(&self, headers: &HeaderMap) -> HeaderMap {
        let mut told = HeaderMap::new();
        if let Some(origin) = self.allowed(headers) {
            told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if self.settings.credentials {
                told.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
            told.extend(self.expose.clone().map(|value| (ACCESS_CONTROL_EXPOSE_HEADERS, value)));
        }
        told
    }

    /// Whether what is told depends on the origin that asks.
    pub(super) fn varies(&self) -> bool {
        !self.settings.origins.iter().any(|origin| origin == "*")
    }

    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        let matches = |allowed: &&String| match allowed.split_once("*.") {
            _ if *allowed == "*" => true,
            Some((before, domain)) => text
                .strip_prefix(before)
                .and_then(|host| host.strip_suffix(domain))
                .is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
            None => *allowed == text,
        };
        let allowed = self.settings.origins.iter().find(matches)?;
        Some(if allowed == "*" { HeaderValue::from_static("*") } else { origin.clone() })
    }
}
