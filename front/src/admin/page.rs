//! The first page: one file without a build step, that asks for the state once a second. Who has given
//! it the token finds buttons on it.

use http::{HeaderValue, Response, StatusCode, header};

/// Everything is in the page, and it talks to nobody but this listener. Its script and style are those that were sent:
/// nothing that is put into the page later can be one.
const POLICY: &str = "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = include_str!("page.html");

/// The page.
pub(super) async fn page() -> Response<String> {
    let mut response = super::page(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned());
    let policy = POLICY.replace("{style}", &hash_of("style")).replace("{script}", &hash_of("script"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What the browser compares the content of an element with (CSP level 3, section 4.2.5).
fn hash_of(element: &str) -> String {
    use base64::Engine as _;
    let begin = PAGE.split_once(&format!("<{element}>")).map_or("", |(_, rest)| rest);
    let content = begin.split_once(&format!("</{element}>")).map_or("", |(content, _)| content);
    base64::engine::general_purpose::STANDARD
        .encode(ring::digest::digest(&ring::digest::SHA256, content.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_style_and_one_script_and_nothing_from_elsewhere() {
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1, "{element}");
            assert_eq!(hash_of(element).len(), 44, "{element}");
        }
        for elsewhere in ["http:", "https:", "src=", "innerHTML", "insertAdjacent", "document.write", "eval("]
        {
            assert!(!PAGE.contains(elsewhere), "{elsewhere}");
        }
    }
}
