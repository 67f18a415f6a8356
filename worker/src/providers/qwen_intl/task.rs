//! What the service says of a video: the task that was begun, and how far it is. Pure. Source: `wire/qwen_intl.md` sections
//! 7.5 and 7.6.

use serde_json::Value;

use crate::chat::{Kind, ProviderError};

/// How deep a task may be hidden.
const MOST_DEPTH: usize = 16;

/// How far a video is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not there yet; the seconds that are left, where the service says so.
    Running(Option<u64>),
    /// Where it is.
    Done(String),
    /// There will be none.
    Failed(ProviderError),
}

/// The task in the answer to a question for a video: one JSON object, or a stream of them.
pub(super) fn submitted(body: &[u8]) -> Option<String> {
    objects(body).find_map(|object| {
        let first = object.pointer("/data/messages/0/extra/wanx/task_id");
        let first = first.and_then(Value::as_str).map(str::to_owned);
        // Measured place first: a tool's own result may have a task of another kind.
        first.or_else(|| named(&object, 0))
    })
}

/// The task in the chat's messages, the last one first: where the answer did not name it.
pub(super) fn in_detail(body: &[u8]) -> Option<String> {
    let detail: Value = serde_json::from_slice(body).ok()?;
    let messages = detail.pointer("/data/chat/messages")?.as_array()?;
    // The last first: in a chat that was used before, the older tasks are of older questions.
    let mut tasks = messages.iter().rev().filter_map(|message| {
        let task = message.pointer("/extra/wanx/task_id")?.as_str()?;
        Some(task.to_owned())
    });
    tasks.find(|task| !task.is_empty())
}

/// The answer of a look; `None` for one that says nothing of a task.
pub(super) fn progress(body: &[u8]) -> Option<Progress> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = body.get("data").filter(|data| data.is_object());
    let told = data.unwrap_or(&body);
    let text = |name: &str| {
        // Flat and in an envelope alike (section 3): the older call has no `data`.
        let mut found = [told, &body]
            .into_iter()
            .filter_map(|it| it.get(name)?.as_str());
        found.find(|text| !text.is_empty())
    };
    let status = text("task_status").or_else(|| text("status"))?;
    Some(match status.to_ascii_lowercase().as_str() {
        "running" | "pending" | "queued" | "processing" => {
            Progress::Running(seconds(told.get("remaining_time")))
        }
        // A success without an address is a change of the page, and no video comes of looking again.
        "success" | "succeeded" | "completed" => match result(told).or_else(|| result(&body)) {
            Some(url) => Progress::Done(url),
            None => Progress::Failed(ProviderError::malformed("video")),
        },
        // Section 7.5: the page takes every other word for a failure.
        _ => Progress::Failed(failure(text("message").unwrap_or_default())),
    })
}

/// Where a finished video is: today's place, and those of the seed.
fn result(told: &Value) -> Option<String> {
    let places = [
        "/content",
        "/result/videos/0/url",
        "/result/images/0/url",
        "/result/video_url",
        "/video_url",
    ];
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    // One after the other: `content` holds words where the seed's shape has a link.
    let mut urls = places.iter().filter_map(|at| told.pointer(at)?.as_str());
    urls.find(is_web).map(str::to_owned)
}

fn failure(words: &str) -> ProviderError {
    let lower = words.to_lowercase();
    let is_moderated = ["inappropriate", "data_inspection", "sensitive"]
        .iter()
        .any(|word| lower.contains(word));
    let error = if is_moderated {
        ProviderError::new(
            Kind::Moderated,
            "the service's moderation stopped the video",
        )
    } else {
        // A day has three of them: another one is the caller's to ask for.
        ProviderError::new(Kind::Unavailable, "the service made no video").lasting()
    };
    error.saying(words)
}

fn seconds(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(seconds) => seconds.as_u64(),
        Value::String(seconds) => seconds.trim().parse().ok(),
        _ => None,
    }
}

/// The objects of a body: it is one, or the data of a stream's events.
fn objects(body: &[u8]) -> impl Iterator<Item = Value> {
    let whole = serde_json::from_slice::<Value>(body).ok();
    let lines = match whole {
        Some(_) => &[],
        None => body,
    };
    let data = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let data = line.trim_ascii().strip_prefix(b"data:")?;
        serde_json::from_slice(data).ok()
    });
    whole.into_iter().chain(data)
}

/// A task by any of its names, anywhere.
fn named(value: &Value, depth: usize) -> Option<String> {
    // The depth of a stranger's JSON, and so of this recursion.
    if depth > MOST_DEPTH {
        return None;
    }
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    match value {
        Value::Object(members) => {
            let own = members.get("task_id").and_then(text);
            let seeds = || members.get("taskIds")?.get(0).and_then(text);
            let inner = || members.values().find_map(|inner| named(inner, depth + 1));
            own.or_else(seeds).or_else(inner)
        }
        Value::Array(list) => list.iter().find_map(|inner| named(inner, depth + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_task_in_every_form() {
        for body in [
            r#"{"success":true,"request_id":"r","data":{"chat_id":"c","parent_id":"p","message_id":"m","chat_type":"t2v","messages":[{"role":"assistant","content":"","chat_type":"t2v","extra":{"wanx":{"task_id":"T"}}}]}}"#,
            r#"{"success":true,"data":{"messages":[{"extra":{}},{"extra":{"wanx":{"task_id":"T"}}}]}}"#,
            r#"{"data":{"task_id":"T"}}"#,
            "data: true\n\ndata: {\"taskIds\":[\"T\"]}\n\n",
        ] {
            assert_eq!(submitted(body.as_bytes()).as_deref(), Some("T"), "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"task_id":""}"#,
            r#"{"taskIds":[]}"#,
            "data: x",
        ] {
            assert_eq!(submitted(body.as_bytes()), None, "{body}");
        }
        let detail = r#"{"success":true,"data":{"chat":{"messages":[{"role":"user"},{"extra":{"wanx":{"task_id":"T"}}},{"role":"x"}]}}}"#;
        assert_eq!(in_detail(detail.as_bytes()).as_deref(), Some("T"));
    }

    #[test]
    fn states_are_read_in_any_case_and_form() {
        let look = |body: &str| progress(body.as_bytes());
        for (body, left) in [
            (
                r#"{"success":true,"data":{"chat_type":"t2v","task_status":"running","message":"","remaining_time":"60","content":""}}"#,
                Some(60),
            ),
            (r#"{"task_status":"QUEUED"}"#, None),
            (r#"{"status":"pending","remaining_time":5}"#, Some(5)),
        ] {
            assert!(
                matches!(look(body), Some(Progress::Running(seen)) if seen == left),
                "{body}"
            );
        }
        for body in [
            r#"{"success":true,"data":{"task_status":"success","content":"https://e/v.mp4?key=k"}}"#,
            r#"{"task_status":"Success","content":"https://e/v.mp4?key=k"}"#,
            r#"{"status":"succeeded","result":{"videos":[{"url":"https://e/v.mp4?key=k"}]}}"#,
            r#"{"status":"succeeded","result":{"video_url":"https://e/v.mp4?key=k"}}"#,
            r#"{"status":"completed","data":{"video_url":"https://e/v.mp4?key=k"}}"#,
        ] {
            assert!(
                matches!(look(body), Some(Progress::Done(url)) if url == "https://e/v.mp4?key=k"),
                "{body}"
            );
        }
        for (body, kind) in [
            (
                r#"{"data":{"task_status":"failed","message":"Inappropriate content"}}"#,
                Kind::Moderated,
            ),
            (
                r#"{"data":{"task_status":"error","message":"x"}}"#,
                Kind::Unavailable,
            ),
            (
                r#"{"data":{"task_status":"success","content":""}}"#,
                Kind::Protocol,
            ),
        ] {
            let failed = look(body);
            assert!(
                matches!(&failed, Some(Progress::Failed(error)) if error.kind == kind),
                "{body} {failed:?}"
            );
        }
        for body in ["", "[]", r#"{"data":{}}"#] {
            assert!(look(body).is_none(), "{body}");
        }
    }
}
