//! The models that the site itself lists, read at start and every hour; any failure leaves what was known. Source:
//! `wire/qwen_intl.md` section 5.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// A list longer than this is none.
const MOST_MODELS: usize = 200;
/// A name longer than this is none.
const MOST_NAME_BYTES: usize = 64;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Catalogue(Mutex<Arc<[String]>>);

impl Catalogue {
    /// The ids as far as they are known.
    pub(super) fn ids(&self) -> Arc<[String]> {
        // A panic of another thread leaves a list in order.
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn learn(&self, ids: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ids.into();
    }
}

/// The ids in an answer, flat or in an envelope; `None` where it has none.
pub(super) fn read(body: &[u8]) -> Option<Vec<String>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = body.get("data")?;
    let rows = data.as_array().or_else(|| data.get("data")?.as_array())?;
    // It becomes an id of ours, and a label.
    let is_id = |id: &&str| {
        !id.is_empty()
            && id.len() <= MOST_NAME_BYTES
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let ids = rows.iter().filter_map(|row| row.get("id")?.as_str());
    let ids: Vec<String> = ids
        .filter(is_id)
        .take(MOST_MODELS)
        .map(str::to_owned)
        .collect();
    // An empty list is a guest's, or a failure in an envelope: neither takes models away.
    (!ids.is_empty()).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_nothing_odd() {
        let row = r#"{"id":"qwen3.9-max","name":"Qwen3.9","info":{"meta":{"chat_type":["t2t"],"max_context_length":262144}}}"#;
        let flat = format!(r#"{{"data":[{row},{{"id":"a/b"}},{{"id":""}},{{}}]}}"#);
        let wrapped = format!(r#"{{"success":true,"data":{{"data":[{row}]}}}}"#);
        for body in [flat, wrapped] {
            assert_eq!(read(body.as_bytes()).unwrap(), ["qwen3.9-max"], "{body}");
        }
        for odd in ["", "[]", "{}", r#"{"data":[]}"#, r#"{"data":{}}"#] {
            assert_eq!(read(odd.as_bytes()), None, "{odd}");
        }
    }
}
