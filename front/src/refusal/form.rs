//! In which form a client reads a refusal (RFC 9110 section 12.5.1).

use http::{HeaderMap, header};

/// A form of refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line.
    #[default]
    Text,
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// A page.
    Html,
}

/// The names a form answers to, with how exactly each names it.
const NAMES: [(Form, &[(&str, u8)]); 3] = [
    (Form::Text, &[("text/plain", 3), ("text/*", 2), ("*/*", 1)]),
    (
        Form::Problem,
        &[("application/problem+json", 4), ("application/json", 3), ("application/*", 2), ("*/*", 1)],
    ),
    (Form::Html, &[("text/html", 3), ("application/xhtml+xml", 3), ("text/*", 2), ("*/*", 1)]),
];

impl Form {
    /// The form a request prefers: the highest quality, then the most exact name, then text before JSON before HTML.
    /// Text, if it accepts none of them.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            ranges.extend(value.to_str().unwrap_or_default().split(',').filter_map(range));
        }
        let mut best = (0, 0, Self::Text);
        for (form, names) in NAMES {
            let (exactness, quality) = rank(names, &ranges);
            if quality > 0 && (quality, exactness) > (best.0, best.1) {
                best = (quality, exactness, form);
            }
        }
        best.2
    }
}

/// A media range in lower case, and its quality in thousandths.
fn range(text: &str) -> Option<(String, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let thousandths = match quality.map(str::parse::<f32>) {
        None => 1000,
        Some(Ok(quality)) if quality >= 1.0 => 1000,
        Some(Ok(quality)) if quality >= 0.001 => {
            (1..1000u16).rfind(|n| f32::from(*n) <= quality * 1000.0).map_or(0, u32::from)
        }
        Some(_) => 0,
    };
    Some((name, thousandths))
}

/// How exactly the most exact range that names a form does so, and the quality it gives.
fn rank(names: &[(&str, u8)], ranges: &[(String, u32)]) -> (u8, u32) {
    let named = |(range, quality): &(String, u32)| {
        names.iter().find(|(name, _)| name == range).map(|(_, exactness)| (*exactness, *quality))
    };
    ranges.iter().filter_map(named).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Form::of(&headers)
    }

    #[test]
    fn the_highest_quality_wins_and_then_the_most_exact_name() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        assert_eq!(of(browser), Form::Html);
        assert_eq!(of("*/*"), Form::Text);
        assert_eq!(of("application/json"), Form::Problem);
        assert_eq!(of("application/problem+json"), Form::Problem);
        assert_eq!(of("application/json, text/plain, */*"), Form::Text, "no preference");
        assert_eq!(of("application/json, text/html;q=0.9"), Form::Problem);
        assert_eq!(of("application/json;q=0.2, text/html;q=0.9"), Form::Html);
        assert_eq!(of("text/*"), Form::Text);
        assert_eq!(of("text/plain;q=0, text/*"), Form::Html);
        assert_eq!(of("TEXT/HTML;level=1;Q=0.5"), Form::Html);
        assert_eq!(of("text/event-stream"), Form::Text, "a client that takes none of them");
        assert_eq!(of(""), Form::Text);
        assert_eq!(of(";;,,q=x;q=NaN"), Form::Text);
        assert_eq!(Form::of(&HeaderMap::new()), Form::Text);
    }
}
