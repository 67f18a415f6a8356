//! What is where, and what the client is told of the models. Source: wire/deepseek.md §3.

use serde_json::json;

use super::refusal::{self, Refusal};
use crate::{Call, Reply, Request, faults::ASK};

pub(super) const COMPLETION: &str = "/api/v0/chat/completion";
pub(super) const UPLOAD: &str = "/api/v0/file/upload_file";

/// The step and method of each path (§3).
pub(super) fn step(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        COMPLETION => (ASK, "POST"),
        UPLOAD => ("upload", "POST"),
        "/api/v0/users/login" => ("login", "POST"),
        "/api/v0/users/current" => ("current", "GET"),
        "/api/v0/users/feature_quota" => ("quota", "GET"),
        "/api/v0/client/settings" => ("settings", "GET"),
        "/api/v0/chat_session/create" => ("create", "POST"),
        "/api/v0/chat_session/delete" => ("delete", "POST"),
        "/api/v0/chat/create_pow_challenge" => ("challenge", "POST"),
        "/api/v0/chat/continue" => ("continue", "POST"),
        "/api/v0/chat/stop_stream" => ("stop", "POST"),
        "/api/v0/chat/history_messages" => ("history", "GET"),
        "/api/v0/file/fetch_files" => ("fetch_files", "GET"),
        "/api/v0/file/fork_file_task" => ("fork", "POST"),
        "/query" => ("hif", "GET"),
        "/hif-dliq/query" => ("hif_dliq", "GET"),
        "/api/v0/users/auth_token/check_device" => ("check_device", "POST"),
        "/api/v0/chat/resume_stream" => ("resume", "POST"),
        "/api/v0/chat_session/fetch_page" => ("sessions", "GET"),
        _ => return None,
    })
}

/// `GET /api/v0/client/settings?scope=model`.
pub(super) fn settings(request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
    if !request.query.split('&').any(|pair| pair == "scope=model") {
        call.violate("the query has no scope=model");
        return Err(refusal::biz(2, "INVALID_PARAM"));
    }
    let model = |name: &str, limit: u32, search: bool| {
        json!({
            "model_type": name, "name": name, "enabled": true, "is_default": name == "default", "switchable": true,
            "input_character_limit": limit, "think_feature": {"enabled": true}, "search_feature": {"enabled": search},
        })
    };
    let models = [
        model("default", 2_621_440, true),
        model("expert", 163_840, true),
        model("vision", 2_621_440, false),
    ];
    Ok(refusal::success(
        &json!({"settings": {"model_configs": {"value": models}}}),
    ))
}
