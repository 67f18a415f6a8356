//! How the service refuses. Source: wire/xinghuo.md §3 (envelope), §6.2, §6.7 sample D, §7.

use serde_json::{Value, json};

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream;charset=UTF-8";

/// The envelope of a call that went well.
pub(super) fn success(data: &Value) -> Reply {
    // The member order is the recorded one of §4.2.
    let body = format!(r#"{{"flag":true,"code":0,"desc":"成功","count":null,"data":{data}}}"#);
    Reply::new(200, "application/json;charset=UTF-8", body)
}

/// The envelope of a call that is refused.
pub(super) fn json(code: u32, desc: &str) -> Refusal {
    let desc = Value::from(desc);
    let body = format!(r#"{{"flag":false,"code":{code},"desc":{desc},"count":null,"data":null}}"#);
    Reply::new(200, "application/json;charset=UTF-8", body)
}

/// §10: the simulator's code for a form that it cannot read.
pub(super) fn bad_form() -> Refusal {
    json(40000, "参数错误")
}

/// §10: the simulator's code for a window that is unknown or another account's.
pub(super) fn unknown_window() -> Refusal {
    json(30002, "对话窗口不存在")
}

pub(super) fn data(payload: &str) -> String {
    format!("data:{payload}\n\n")
}

/// The JSON of an error: sample D.
pub(super) fn error_json(key: u32, descr: &str) -> String {
    let descr = json!(descr);
    format!(r#"{{"key":{key},"value":{descr},"descr":{descr}}}"#)
}

/// An event stream that holds an error head, the error and the end.
pub(super) fn head(head: &str, key: u32, descr: &str) -> Refusal {
    lines(&[head, &error_json(key, descr), "<end>"])
}

/// An event stream of the given payloads, as they are.
pub(super) fn lines(payloads: &[&str]) -> Refusal {
    let mut acts: Vec<_> = payloads
        .iter()
        .map(|payload| Act::send(data(payload)))
        .collect();
    // The last line is the end of it.
    acts.insert(acts.len().saturating_sub(1), Act::Done);
    let acts: Acts = Box::new(acts.into_iter());
    Reply::stream(EVENT_STREAM, acts)
}
