//! What goes wrong on order. Source: wire/qwen_intl.md §2, §7, §8.

use serde_json::json;

use super::{
    refusal::{self, Refusal},
    stream::End,
};
use crate::faults::{ASK, Fault};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("unauthorized", ASK), // and the token is void from now on
    ("unauthorized_401", ASK),
    ("rate_limited", ASK), // without a time
    ("rate_limited_retry_after", ASK),
    ("quota_spent", ASK),       // with seven hours
    ("quota_spent_flat", ASK),  // the older form
    ("quota_spent_frame", ASK), // as an object within the stream
    ("too_many_frame", ASK),
    ("allocated_frame", ASK),
    ("internal", ASK), // Bad_Request, Internal error...
    ("in_progress", ASK),
    ("in_progress_code", ASK),
    ("in_progress_frame", ASK),
    ("chat_not_found", ASK), // and the chat is gone
    ("not_exist", ASK),
    ("model_not_found", ASK),
    ("model_unavailable", ASK),
    ("verification", ASK),
    ("verification_frame", ASK),
    ("firewall", ASK),
    ("inspected_before_text", ASK),
    ("inspected_after_text", ASK),
    ("overloaded", ASK),
    ("strange", ASK),
    ("error_after_text", ASK),
    ("empty", ASK),      // finished, and nothing was said
    ("empty_body", ASK), // an event stream without a byte
    ("garbage", ASK),
    ("cut_off", ASK), // a clean end of the body in the middle, which ends the answer
    ("cut_in_frame", ASK), // the same within an event
    ("no_picture", ASK), // no refusal: the picture is only in the chat
    ("no_picture_at_all", ASK),
    ("no_task", ASK), // no refusal: the task is only in the chat
    ("create_refused", "create"),
    ("grant_refused", "grant"),
    ("store_signature", "store"),
    ("store_skewed", "store"),
    ("task_failed", "task"),
    ("task_moderated", "task"),
    ("task_refused", "task"),
    ("login_firewall", "signin"),
    ("login_refused", "signin"),
    ("models_refused", "models"),
    ("delete_refused", "delete"),
];

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    use refusal::{frame, refused};
    Some(match fault {
        "unauthorized" => refusal::unauthorized(),
        "unauthorized_401" => crate::Reply::json(401, &json!({"detail": "Unauthorized"})),
        "rate_limited" | "rate_limited_retry_after" => {
            refused(429, "RateLimited", "Too many requests in a short time.")
        }
        "quota_spent" => refusal::spent(7),
        "quota_spent_flat" => crate::Reply::json(
            429,
            &json!({"code": "RateLimited", "detail": "limit", "template": "wait {{num}} hours", "num": 7}),
        ),
        "quota_spent_frame" => frame(
            &json!({"success": false, "data": {"code": "RateLimited", "details": "limit", "num": 7}}),
        ),
        "too_many_frame" => {
            frame(&json!({"error": {"code": "Too_Many_Requests", "details": "slow down"}}))
        }
        "allocated_frame" => frame(
            &json!({"error": {"message": "Allocated quota exceeded, please increase your quota limit."}}),
        ),
        "internal" => refusal::internal(),
        "in_progress" => refusal::busy(),
        "in_progress_code" => refused(409, "CHAT_IN_PROGRESS", "busy"),
        "in_progress_frame" => frame(&json!({"error": {"message": "The chat is in progress!"}})),
        "chat_not_found" => refused(404, "CHAT_NOT_FOUND", "gone"),
        "not_exist" => refusal::no_chat(),
        "model_not_found" => refusal::no_model(),
        "model_unavailable" => refused(400, "Bad_Request", "该模型不可用"),
        "verification" => refusal::robot(),
        "verification_frame" => refusal::robot_frame(),
        "firewall" | "login_firewall" => refusal::firewall(),
        "inspected_before_text" => frame(
            &json!({"error": {"code": "data_inspection_failed", "details": "Output data may contain inappropriate content."}}),
        ),
        "overloaded" => refused(
            503,
            "Internal_Error",
            "The model is temporarily unavailable",
        ),
        "strange" => refused(418, "Something_New", "nobody knows"),
        "empty_body" => refusal::nothing(),
        "garbage" => refusal::garbage(),
        "create_refused" | "grant_refused" | "task_refused" | "models_refused"
        | "delete_refused" => refused(500, "Internal_Error", "sim"),
        "store_signature" => refusal::store("SignatureDoesNotMatch"),
        "store_skewed" => refusal::store("RequestTimeTooSkewed"),
        "login_refused" => crate::Reply::json(
            400,
            &json!({"detail": "The email or password provided is incorrect."}),
        ),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    match fault {
        "empty" => End::Empty,
        "inspected_after_text" => End::Error(2, "data_inspection_failed"),
        "error_after_text" => End::Error(2, "Something_New"),
        "cut_off" => End::CutOff(2),
        "cut_in_frame" => End::CutInFrame(2),
        "no_picture" | "no_picture_at_all" => End::Hidden,
        _ => End::Finished,
    }
}
