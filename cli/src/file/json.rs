//! Values of the file as JSON.

use serde_json::{Map, Value as Json};
use toml::de::DeValue;

use super::{Key, Reader, Value};

impl Reader<'_> {
    /// Any value as JSON; else says what is wrong.
    pub(super) fn json(&mut self, key: &str, value: &Value<'_>) -> Option<Json> {
        json(value.get_ref()).map_err(|what| self.wrong(value.span().start, format!("{key}: {what}"))).ok()
    }
}

/// Errors: JSON has no such value.
fn json(value: &DeValue<'_>) -> Result<Json, String> {
    Ok(match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Boolean(truth) => Json::from(*truth),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            Json::from(read.map_err(|_| format!("{} is too large", number.as_str()))?)
        }
        DeValue::Float(number) => {
            let read = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            Json::from(read.ok_or_else(|| format!("JSON has no {}", number.as_str()))?)
        }
        DeValue::Datetime(time) => Json::from(time.to_string()),
        DeValue::Array(items) => {
            Json::from(items.iter().map(|item| json(item.get_ref())).collect::<Result<Vec<_>, _>>()?)
        }
        DeValue::Table(table) => {
            let field = |(key, value): (&Key<'_>, &Value<'_>)| {
                Ok((key.get_ref().to_string(), json(value.get_ref())?))
            };
            Json::Object(table.iter().map(field).collect::<Result<Map<_, _>, String>>()?)
        }
    })
}
