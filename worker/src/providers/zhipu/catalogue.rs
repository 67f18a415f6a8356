//! The models that the site itself lists, read now and then; any failure leaves what was known. Source: `wire/zhipu.md`
//! section 3, `available_models`, of whose answer the page says no more than that it holds names of models: whatever in it
//! looks like one is one.

use serde_json::Value;

use super::models;

/// A list longer than this is none.
const MOST_NAMES: usize = 64;
/// A name longer than this is none.
const MOST_NAME_BYTES: usize = 64;
/// Lists within lists: as deep as any answer goes, and more.
const MOST_DEPTH: usize = 8;

/// The names in the answer, in alphabetical order; none where it cannot be read.
pub(super) fn names(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(answer) = serde_json::from_slice::<Value>(body) {
        // Any shape: the page does not say where in the answer the names stand.
        let result = answer.get("result").unwrap_or(&answer);
        collect(result, MOST_DEPTH, &mut names);
    }
    names.sort();
    names.dedup();
    names.truncate(MOST_NAMES);
    names
}

fn collect(value: &Value, depth: usize, names: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::String(text) => {
            let name = text.trim().to_ascii_lowercase();
            // It becomes an id of ours.
            let is_id = name.len() <= MOST_NAME_BYTES
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if is_id && models::is_versioned(&name) {
                names.push(name);
            }
        }
        Value::Array(list) => list.iter().for_each(|it| collect(it, depth, names)),
        Value::Object(members) => members.values().for_each(|it| collect(it, depth, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_looks_like_a_models_name() {
        for body in [
            r#"{"status":0,"result":{"models":[{"model":"glm-5.2","name":"GLM-5.2"},{"model":"glm-9","x":[null,1,true]}]}}"#,
            r#"{"result":["glm-9","GLM-5.2"]}"#,
            r#"["glm-9","glm-5.2","glm-x","glm 5","glm-5 and more","cogview","",7]"#,
        ] {
            assert_eq!(names(body.as_bytes()), ["glm-5.2", "glm-9"], "{body}");
        }
        for odd in ["", "{}", r#"{"result":null}"#, "<html>"] {
            assert!(names(odd.as_bytes()).is_empty(), "{odd}");
        }
        let deep = format!("{}\"glm-5\"{}", "[".repeat(50), "]".repeat(50));
        assert!(names(deep.as_bytes()).is_empty());
    }
}
