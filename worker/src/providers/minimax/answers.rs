//! What of the service's short answers is read. Pure. Source: `wire/minimax.md` sections 2, 3 and 12.

use serde::Deserialize;
use serde_json::Value;

/// `session_id`, as text or as a number; `None` is a failure (section 12.4).
pub(super) fn session_id(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let id = answer
        .get("session_id")
        .or_else(|| answer.get("data")?.get("session_id"))?;
    let id = match id {
        Value::String(id) => id.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    // It becomes a part of a path.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    Some(id).filter(|id| !id.is_empty() && id.len() <= 64 && id.chars().all(is_plain))
}

/// The answer of `wire::send_message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Sent {
    // 15 digits and sent back as a number: a float would round it (section 3).
    pub(super) chat_id: i64,
    /// The question's.
    pub(super) msg_id: Option<i64>,
}

/// [`Sent`], as it comes; `None` for any other answer.
pub(super) fn sent(body: &[u8]) -> Option<Sent> {
    serde_json::from_slice(body).ok()
}

/// `realUserID` of the answer of `wire::user_info`.
pub(super) fn real_user(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let data = answer.get("data")?;
    // `device/register` has it a level higher (section 3); either is read.
    let holder = data.get("userInfo").unwrap_or(data);
    match holder.get("realUserID")? {
        Value::String(id) => Some(id.clone()).filter(|id| !id.is_empty()),
        // Beyond 2^53, but `Number` keeps integers of 64 bits as they are.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The credits in the answer of `wire::membership`, in its newer form and its older one.
pub(super) fn credits(body: &[u8]) -> Option<f64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let newer = answer
        .get("op_credit_summary")
        .and_then(|summary| summary.get("total_remaining_amount"));
    let number = |value: &Value| match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    let credits = newer
        .and_then(number)
        .or_else(|| number(answer.get("total_remains_credit")?))?;
    credits.is_finite().then_some(credits)
}

/// The token of the answer of `wire::renewal`.
pub(super) fn renewed(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let token = answer.get("data")?.get("token")?.as_str()?;
    Some(token.to_owned()).filter(|token| !token.is_empty())
}

/// Whether a session or a chat cannot be done away with yet, as it is still at work (sections 7, 12.6).
pub(super) fn is_busy(status: u16, body: &[u8]) -> bool {
    // Section 7: the code that goes with these words is not known.
    status == 409 || memchr::memmem::find(body, b"chat is running").is_some()
}
