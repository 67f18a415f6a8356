//! What the description says of the doors beside chat that pass files: videos, and what an API has besides.

use serde_json::{Map, Value, json};

use crate::{http::openai::relay::ENDPOINTS, providers::registry};

/// The paths. `errors` adds the answers that every door has.
pub(super) fn paths(errors: impl Fn(Value) -> Value) -> Map<String, Value> {
    let mut paths = videos(&errors);
    for endpoint in ENDPOINTS {
        let description = format!(
            "Passed on to the OpenAI-compatible API that the model leads to (`{}`), as JSON or as a form, and back as it comes. {}",
            registry::api_variable(),
            if endpoint.is_model_optional {
                "Without a model the first of them answers."
            } else {
                "In a form the model may come behind the file."
            }
        );
        let object =
            json!({"schema": {"type": "object", "properties": {"model": {"type": "string"}}}});
        let entry = json!({"post": {
            "tags": ["media"], "summary": format!("A model that {}", endpoint.does), "description": description,
            "requestBody": {"required": true, "content": {"application/json": object, "multipart/form-data": object}},
            "responses": errors(json!({"200": {"description": "The API's answer"}})),
        }});
        paths.insert(format!("/v1{}", endpoint.path), entry);
    }
    paths
}

fn videos(errors: &impl Fn(Value) -> Value) -> Map<String, Value> {
    let video = json!({"description": "The video: `status` is queued, in_progress, completed or failed, `progress` 0 to 100",
        "content": {"application/json": {"schema": {"type": "object"}}}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"},
        "description": "As POST /v1/videos gave it to this key; any other one is a 404"});
    let ask = json!({"schema": {"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string"}, "model": {"type": "string"}, "seconds": {"type": "string"}, "size": {"type": "string"},
        "input_reference": {"type": "string", "format": "binary", "description": "The picture that it begins with: a file, or in JSON an https or data URL"}}},
        "example": {"model": "cogvideox", "prompt": "一只在雪地里奔跑的猫"}});
    let paths = json!({
        "/v1/videos": {
            "post": {"tags": ["media"], "summary": "Ask for a video",
                "requestBody": {"required": true, "content": {"application/json": ask, "multipart/form-data": ask}},
                "responses": errors(json!({"200": video}))},
            "get": {"tags": ["media"], "summary": "The videos that were asked for with this key within the last seven days, a page at a time",
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
                    {"name": "order", "in": "query", "schema": {"enum": ["desc", "asc"]}, "description": "The newest first, or the oldest"},
                    {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The last id of the page before"}],
                "responses": errors(json!({"200": {"description": "The page: `data`, `first_id`, `last_id`, `has_more`",
                    "content": {"application/json": {"schema": {"type": "object"}}}}}))},
        },
        "/v1/videos/{id}": {
            "get": {"tags": ["media"], "summary": "How far a video is", "parameters": [id],
                "responses": errors(json!({"200": video}))},
            "delete": {"tags": ["media"], "summary": "Stop and delete a video", "parameters": [id],
                "responses": errors(json!({"200": {"description": "It is deleted at the provider"}}))},
        },
        "/v1/videos/{id}/content": {"get": {"tags": ["media"], "summary": "The file", "parameters": [id],
            "description": "Streamed through as it comes; a `Range` is passed on. 400 `video_not_ready` before it is there.",
            "responses": errors(json!({"200": {"description": "The file", "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
                "206": {"description": "The part that `Range` asks for"}, "416": {"description": "There is no such part"}}))}},
        "/v1/videos/{id}/remix": {"post": {"tags": ["media"], "summary": "Another video from one of an API's", "parameters": [id],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}}}}},
            "responses": errors(json!({"200": video}))}},
    });
    match paths {
        Value::Object(paths) => paths,
        _ => Map::new(),
    }
}
