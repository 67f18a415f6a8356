//! The items of a frame as they are written. Source: wire/qwen.md §11.8.

use serde_json::{Value, json};

/// An item in the member order of sample D.
pub(super) fn item(kind: &str, content: &str, meta: Option<&Value>, status: &str) -> String {
    let content = json!(content);
    let meta = meta.map_or_else(String::new, |meta| format!(r#","meta_data":{meta}"#));
    format!(r#"{{"mime_type":"{kind}","content":{content}{meta},"status":"{status}"}}"#)
}

/// An item without content of its own.
pub(super) fn item_of(kind: &str, meta: &Value, status: &str) -> String {
    format!(r#"{{"mime_type":"{kind}","meta_data":{meta},"status":"{status}"}}"#)
}
