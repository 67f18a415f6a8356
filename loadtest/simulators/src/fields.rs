//! The strict reading of JSON objects, member by member.

use serde_json::{Map, Value};

use super::Call;

/// Everything is there with its value; what is there besides is noted.
pub(super) fn exactly(
    object: &Map<String, Value>,
    what: &str,
    wanted: Value,
    call: &mut Call,
) -> Result<(), String> {
    let Value::Object(wanted) = wanted else {
        return Ok(());
    };
    for (name, value) in &wanted {
        if object.get(name) != Some(value) {
            return Err(format!("{name} of {what} is missing or not {value}"));
        }
    }
    if let Some(extra) = object.keys().find(|name| !wanted.contains_key(*name)) {
        call.violate(format!("{what} has the unknown field {extra:?}"));
    }
    Ok(())
}

/// A member that is a text.
pub(super) fn text(object: &Map<String, Value>, key: &str) -> Result<String, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{key} is {other}, not a string")),
        None => Err(format!("{key} is missing")),
    }
}
