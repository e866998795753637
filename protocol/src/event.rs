//! Payload → event → EventSource bytes (SPEC "Events"; the WHATWG HTML standard, "Server-sent events"). Any payload
//! is an event: nothing that is published can end a subscription, but `["$unsubscribe"]`.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// What a published payload means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something for the browser.
    Message {
        /// Its type; absent: `message`.
        event: Option<String>,
        /// Its text, of any number of lines.
        data: String,
        /// Its own id; sent only where no kept topic is.
        id: Option<String>,
        /// Reconnection time in milliseconds, digits only.
        retry: Option<String>,
    },
    /// The topic ends for its subscribers.
    Unsubscribe,
}

impl Event {
    /// An event that has only data.
    pub fn data(data: impl Into<String>) -> Self {
        Self::Message { event: None, data: data.into(), id: None, retry: None }
    }

    /// Reads a payload. Every payload is an event; bytes that are not UTF-8 become U+FFFD.
    pub fn of(payload: &[u8]) -> Self {
        let text = String::from_utf8_lossy(payload);
        match text.trim_start().as_bytes().first() {
            Some(b'[') => Self::of_array(&text),
            Some(b'{') => Self::of_object(&text),
            _ => None,
        }
        .unwrap_or_else(|| Self::data(text))
    }

    fn of_array(text: &str) -> Option<Self> {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        match items.as_slice() {
            [] => None,
            [one] if string(one).as_deref() == Some("$unsubscribe") => Some(Self::Unsubscribe),
            [one] => Some(Self::data(content(one)?)),
            [name, data, ..] => {
                let event = clean(string(name)?);
                Some(Self::Message { event, data: content(data)?.into_owned(), id: None, retry: None })
            }
        }
    }

    fn of_object(text: &str) -> Option<Self> {
        let fields: std::collections::HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
        let (event, data) = (fields.get("event"), fields.get("data"));
        if event.is_none() && data.is_none() {
            return None;
        }
        Some(Self::Message {
            event: event.and_then(|value| string(value)).and_then(clean),
            data: data.map_or(Some(Cow::Borrowed("")), |value| content(value))?.into_owned(),
            id: fields.get("id").and_then(|value| scalar(value)).and_then(clean),
            retry: fields.get("retry").and_then(|value| scalar(value)).filter(|text| digits(text)),
        })
    }

    /// Appends the bytes for an EventSource client. `with_id`: the stream has no kept topic, so an event's own id
    /// does not overwrite a position. `Unsubscribe` becomes `event: end`.
    pub fn write_sse(&self, with_id: bool, out: &mut Vec<u8>) {
        let Self::Message { event, data, id, retry } = self else {
            out.extend_from_slice(b"event: end\ndata:\n\n");
            return;
        };
        let line = |name: &str, value: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            if !value.is_empty() {
                out.push(b' ');
                out.extend_from_slice(value.as_bytes());
            }
            out.push(b'\n');
        };
        for (name, value) in [("event", event), ("id", &id.clone().filter(|_| with_id)), ("retry", retry)] {
            if let Some(value) = value {
                line(name, value, out);
            }
        }
        for part in lines(data) {
            line("data", part, out);
        }
        out.push(b'\n');
    }
}

/// A string's content.
fn string(value: &RawValue) -> Option<String> {
    value.get().starts_with('"').then(|| serde_json::from_str(value.get()).ok())?
}

/// A string's content, else the value's own JSON text, byte for byte. None for a string that is not valid Unicode.
fn content(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().starts_with('"') {
        true => string(value).map(Cow::Owned),
        false => Some(Cow::Borrowed(value.get())),
    }
}

/// A string's content or a number's text.
fn scalar(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => string(value),
        Some(b'-' | b'0'..=b'9') => Some(text.to_owned()),
        _ => None,
    }
}

/// `event` and `id` with CR, LF or NUL would write other fields: they are left out, as are empty ones.
fn clean(text: String) -> Option<String> {
    (!text.is_empty() && !text.contains(['\r', '\n', '\0'])).then_some(text)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Splits at CRLF, CR and LF.
fn lines(data: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((line, tail)) = text.split_once(['\r', '\n']) else { return Some(text) };
        let crlf = text.as_bytes().get(line.len()) == Some(&b'\r') && tail.starts_with('\n');
        rest = Some(if crlf { tail.strip_prefix('\n').unwrap_or(tail) } else { tail });
        Some(line)
    })
}
