//! Files below a folder: what is not a plain name below it does not exist (RFC 9110 sections 13 and 14).

use std::{
    fs::Metadata,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tempest_protocol::Code;
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::{Refusal, Route};

/// The files of a route.
#[derive(Clone)]
pub(crate) struct Files {
    /// Without links in it, so that links out of it are seen.
    root: Arc<Path>,
    service: ServeDir,
    cache_control: Option<HeaderValue>,
    dotfiles: bool,
}

impl Files {
    /// The files of a route that was checked.
    pub(crate) fn new(folder: &Path, route: &Route) -> Self {
        Self {
            root: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).into(),
            service: ServeDir::new(folder),
            cache_control: route.cache_control.as_ref().and_then(|value| HeaderValue::try_from(value).ok()),
            dotfiles: route.dotfiles,
        }
    }

    /// Answers a request for what is left of its path, still percent-encoded.
    pub(crate) async fn answer(
        &self,
        path: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Refusal::method_not_allowed("GET, HEAD".into()));
        }
        let not_found = || Refusal::new(Code::NotFound);
        let etag = self.etag(path).await.ok_or_else(not_found)?;
        if let Some(etag) = &etag
            && let Some(unchanged) = settle_conditions(request.headers_mut(), etag)
        {
            return Ok(self.told(unchanged, Some(etag)));
        }
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        *request.uri_mut() = format!("/{path}{query}").parse().map_err(|_| not_found())?;
        let Ok(response) = self.service.clone().oneshot(request).await;
        match response.status() {
            StatusCode::NOT_FOUND => Err(not_found()),
            _ => Ok(self.told(response.map(Body::new), etag.as_ref())),
        }
    }

    /// The tag of the file; none for a folder, which leads elsewhere. Outer none: there is nothing.
    async fn etag(&self, encoded: &str) -> Option<Option<HeaderValue>> {
        let mut path = self.root.join(self.plain(encoded)?);
        if encoded.is_empty() || encoded.ends_with('/') {
            path.push("index.html");
        }
        let real = tokio::fs::canonicalize(&path).await.ok()?;
        if !real.starts_with(&self.root) {
            return None;
        }
        let about = tokio::fs::metadata(&real).await.ok()?;
        Some(if about.is_file() { tag(&about) } else { None })
    }

    /// The path, if it is one of plain names.
    fn plain(&self, encoded: &str) -> Option<PathBuf> {
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
        let path = PathBuf::from(&*decoded);
        let is_plain = |component: Component<'_>| match component {
            Component::Normal(name) => self.dotfiles || !name.to_string_lossy().starts_with('.'),
            _ => false,
        };
        let plain = !decoded.contains(['\\', '\0']) && !decoded.starts_with('/');
        (plain && path.components().all(is_plain)).then_some(path)
    }

    fn told(&self, mut response: Response<Body>, etag: Option<&HeaderValue>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in [(header::ETAG, etag), (header::CACHE_CONTROL, self.cache_control.as_ref())] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        let text = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if let Some(text) = text.filter(|kind| kind.starts_with("text/") && !kind.contains("charset"))
            && let Ok(value) = HeaderValue::try_from(format!("{text}; charset=utf-8"))
        {
            headers.insert(header::CONTENT_TYPE, value);
        }
        response
    }
}

/// A strong tag: the time of the last change, which file systems keep to the nanosecond, and the size.
fn tag(about: &Metadata) -> Option<HeaderValue> {
    let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    HeaderValue::try_from(format!("\"{:x}-{:x}\"", changed.as_nanos(), about.len())).ok()
}

/// Answers `If-None-Match` and takes out what it and a failed `If-Range` make void.
fn settle_conditions(headers: &mut HeaderMap, etag: &HeaderValue) -> Option<Response<Body>> {
    if let Some(range) = headers.get(header::IF_RANGE)
        && range.as_bytes().starts_with(b"\"")
    {
        if range != etag {
            headers.remove(header::RANGE);
        }
    } else if headers.remove(header::IF_RANGE).is_some() {
        // A date or a weak tag does not prove that the bytes are the same.
        headers.remove(header::RANGE);
    }
    let tags: Vec<_> = headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    if tags.is_empty() {
        return None;
    }
    headers.remove(header::IF_MODIFIED_SINCE);
    let same = |tag: &str| tag == "*" || tag.trim_start_matches("W/").as_bytes() == etag.as_bytes();
    let matches = tags.iter().filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    matches.map(str::trim).any(same).then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    })
}
