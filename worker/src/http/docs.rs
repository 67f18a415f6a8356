//! `/openapi.json` and `/docs`: the description of the doors, and a page to try them that works offline. What
//! becomes of each request field is read from the table that the worker itself obeys.

mod media;
mod programs;

use std::{collections::BTreeMap, fmt::Write as _};

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use utoipa_swagger_ui::SwaggerUi;

use super::openai::fields::FIELDS;
use crate::{
    app::App,
    chat::{Field, Support, fields, media::MOST_PICTURES},
    providers::registry::{PROVIDERS, Registry},
};

/// Swagger UI's own start page expects to live in a folder; this one works on `/docs` itself, and has a chat to try and what
/// to tell programs in front of it.
fn page() -> String {
    include_str!("docs/page.html").replace("{programs}", &programs::html())
}

/// The routes of this module.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route(
            "/openapi.json",
            web::get().to(async |app: web::Data<App>| {
                let mut document = document();
                add_ledger(&app.registry, &mut document);
                HttpResponse::Ok().json(document)
            }),
        )
        .route(
            "/docs",
            web::get().to(async || {
                HttpResponse::Ok()
                    .content_type("text/html; charset=utf-8")
                    .body(page())
            }),
        )
        .service(
            SwaggerUi::new("/docs/{_:.*}").external_url_unchecked("/openapi.json", document()),
        );
}

/// The OpenAPI description.
fn document() -> Value {
    let error = |description: &str| json!({"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    let errors = |mut responses: Value| {
        for (status, description) in [
            (
                "400",
                "A field is wrong (`param` names it), the prompt was moderated, or it does not fit the context window",
            ),
            ("401", "The gateway's key is missing or wrong"),
            ("404", "No provider knows the model"),
            ("413", "The body is too large"),
            (
                "429",
                "All accounts are rate limited; `Retry-After` says when to come back",
            ),
            (
                "502",
                "The provider failed, or its credential must be renewed (the message says which variable)",
            ),
            (
                "503",
                "The model's provider has no account, or the worker is draining",
            ),
            ("504", "The provider did not answer in time"),
        ] {
            responses[status] = error(description);
        }
        responses
    };
    let media = media::paths(errors);
    let probe = |summary: &str, ok: &str| json!({"get": {"tags": ["operation"], "summary": summary, "security": [], "responses": {"200": {"description": ok}}}});
    let response = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"},
        "description": "As POST /v1/responses gave it to this key; any other one is a 404"});
    let kept = |ok: &str| {
        json!({"200": {"description": ok, "content": {"application/json": {"schema": {"type": "object"}}}},
        "401": error("The gateway's key is missing or wrong"), "404": error("No such response is kept for this key"), "503": error("The store does not answer")})
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hive2api",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("One OpenAI-compatible endpoint for the web chats you already have an account with. Token counts are estimates (o200k_base), as the web chats report none. For the account holder's own use, within each provider's terms.\n\n{}", providers()),
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": "chat"}, {"name": "media"}, {"name": "models"}, {"name": "operation"}],
        "paths": {
            "/v1/chat/completions": {"post": {
                "tags": ["chat"], "summary": "Create a chat completion",
                "description": "Also answers on `/chat/completions` and `/v1/v1/chat/completions`, for clients that differ in whether they add the `/v1`. With `stream: true` the answer is server-sent events that end in `data: [DONE]`; an error after the first output is one event with an `error` object. Fields without effect are named in the response header `X-Hive-Ignored`.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"},
                    "example": {"model": "qwen3-max", "stream": true, "messages": [{"role": "user", "content": "你好"}]}}}},
                "responses": errors(json!({"200": {"description": "The completion, or the stream of its chunks", "content": {
                    "application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}}})),
            }},
            "/v1/messages": {"post": {
                "tags": ["chat"], "summary": "Create a message (Anthropic's dialect)",
                "description": "Also below `/anthropic/v1`. For Claude Code and Anthropic's SDKs: `system`, blocks of every type, tools, `thinking`, `stop_sequences`; what only Anthropic's own service understands is named in `X-Hive-Ignored`, never refused. With `stream: true` the answer is events from `message_start` to `message_stop`, with `ping` in silences. Errors are in that dialect. A prefilled answer is refused with 400.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["model", "messages"]},
                    "example": {"model": "qwen3-max", "max_tokens": 1024, "messages": [{"role": "user", "content": "你好"}]}}}},
                "responses": errors(json!({"200": {"description": "The message, or the stream of its events", "content": {
                    "application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}}})),
            }},
            "/v1/messages/count_tokens": {"post": {
                "tags": ["chat"], "summary": "Count the tokens of a message's request",
                "description": "The body is that of `/v1/messages`; nobody is asked. An estimate, by the same count as `usage`.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["model", "messages"]}}}},
                "responses": {"200": {"description": "`input_tokens`"}, "400": error("A field is wrong"), "401": error("The gateway's key is missing or wrong"), "404": error("No provider knows the model")},
            }},
            "/v1/completions": {"post": {
                "tags": ["chat"], "summary": "Complete a text, or fill in what stands between `prompt` and `suffix`",
                "description": "For editors. Several prompts are several choices. `best_of`, `logprobs` and arrays of tokens are refused.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["model", "prompt"]},
                    "example": {"model": "qwen3-max", "prompt": "fn add(a: i32, b: i32) -> i32 {\n", "suffix": "\n}", "max_tokens": 64}}}},
                "responses": errors(json!({"200": {"description": "The completion, or the stream of its chunks", "content": {
                    "application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}}})),
            }},
            "/v1/responses": {"post": {
                "tags": ["chat"], "summary": "Create a response",
                "description": "For Codex and the newer SDKs: `input` as a text or as items, tools of all types (what cannot be offered is named in `X-Hive-Ignored`, never refused), thinking as a summary where `reasoning.summary` asks for one. With `stream: true` the answer is events from `response.created` to `response.completed`, `response.incomplete` or `response.failed`, with `keepalive` in silences. A response is kept for `RESPONSES_TTL` (an hour), unless `store` is false: `previous_response_id` goes on from it, and an `item_reference` stands for an item of it; with one that is not kept the request is 400. `conversation`, `prompt` and `background` are 400 `unsupported_parameter`.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["model", "input"], "properties": {
                    "model": {"type": "string"}, "input": {"type": ["string", "array"]}, "instructions": {"type": ["string", "null"]}, "stream": {"type": "boolean"},
                    "tools": {"type": "array", "items": {"type": "object"}}, "tool_choice": {}, "reasoning": {"type": "object"}, "text": {"type": "object"}, "max_output_tokens": {"type": "integer"}}},
                    "example": {"model": "qwen3-max", "stream": true, "input": "你好"}}}},
                "responses": errors(json!({"200": {"description": "The response, or the stream of its events", "content": {
                    "application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}}})),
            }},
            "/v1/responses/{id}": {
                "get": {"tags": ["chat"], "summary": "A response that is kept", "parameters": [response],
                    "responses": kept("The response")},
                "delete": {"tags": ["chat"], "summary": "Forget a response", "parameters": [response],
                    "responses": kept("It is forgotten")},
            },
            "/v1/responses/{id}/input_items": {"get": {
                "tags": ["chat"], "summary": "What a response answers, a page at a time",
                "parameters": [response,
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
                    {"name": "order", "in": "query", "schema": {"enum": ["desc", "asc"]}},
                    {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The last id of the page before"}],
                "responses": kept("The page: `data`, `first_id`, `last_id`, `has_more`"),
            }},
            "/v1/models": {"get": {
                "tags": ["models"], "summary": "List the models",
                "description": "`hive` in each entry names the provider, its abilities, and what becomes of each request field. With an `anthropic-version` header or a `limit` the listing has Anthropic's shape.",
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}],
                "responses": {"200": {"description": "The models of all configured providers"}, "401": error("The gateway's key is missing or wrong")},
            }},
            "/v1/models/{id}": {"get": {
                "tags": ["models"], "summary": "One model",
                "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "The model"}, "401": error("The gateway's key is missing or wrong"), "404": error("No provider knows the model")},
            }},
            "/health": probe("The process lives", "It does, and how every provider's accounts are"),
            "/ready": probe("May take traffic; 503 while draining or without a usable account", "It may"),
            "/metrics": probe("Prometheus metrics; not reachable through nginx", "The metrics"),
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`API_MASTER_KEY` or one of `API_KEYS`"}},
            "schemas": {
                "ImageRequest": {"type": "object", "required": ["prompt"], "properties": image_fields()},
                "ImageEdit": {"type": "object", "required": ["prompt", "image"], "properties": edit_fields()},
                "ChatRequest": {"type": "object", "required": ["model", "messages"], "properties": request_fields()},
                "Error": {"type": "object", "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"], "properties": {
                    "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}}}},
            },
        },
    });
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.extend(media);
        if let Value::Object(drawing) = drawing(&errors) {
            paths.extend(drawing);
        }
    }
    document
}

/// The paths of pictures. Apart, as a macro takes only so much at once.
fn drawing(errors: &dyn Fn(Value) -> Value) -> Value {
    json!({
        "/v1/images/generations": {"post": {
            "tags": ["media"], "summary": "Draw pictures",
            "description": "For models that have this path among their `hive.endpoints` in /v1/models. The pictures of an answer are shown below on this page. `X-Hive-Size`, `X-Hive-Output-Format`, `X-Hive-Missing` and `X-Hive-Ignored` say what was done otherwise than asked. A refusal by moderation is 400 `content_policy_violation`.",
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ImageRequest"},
                "example": {"model": "cogview-3-plus", "prompt": "一只戴草帽的猫", "size": "1024x1024", "response_format": "b64_json"}}}},
            "responses": errors(pictures()),
        }},
        "/v1/images/edits": {"post": {
            "tags": ["media"], "summary": "Change pictures",
            "description": "As /v1/images/generations, with pictures to begin with; for models that have this path among their `hive.endpoints`.",
            "requestBody": {"required": true, "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/ImageEdit"}}}},
            "responses": errors(pictures()),
        }},
    })
}

/// The answer of both doors of pictures.
fn pictures() -> Value {
    json!({"200": {"description": "The pictures, as links or as base64", "content": {"application/json": {"schema": {
        "type": "object", "properties": {
            "created": {"type": "integer"}, "model": {"type": "string"}, "output_format": {"type": "string"},
            "data": {"type": "array", "items": {"type": "object", "properties": {
                "url": {"type": "string"}, "b64_json": {"type": "string"}, "revised_prompt": {"type": "string"}}}},
        },
    }}}}})
}

fn image_fields() -> Value {
    json!({
        "model": {"type": "string", "description": "Without one, or with one of OpenAI's that nobody here has: `IMAGE_MODEL`."},
        "prompt": {"type": "string"},
        "n": {"type": "integer", "minimum": 1, "maximum": MOST_PICTURES},
        "size": {"type": "string", "description": "WIDTHxHEIGHT, WIDTH:HEIGHT or `auto`; the nearest that the service has is drawn."},
        "response_format": {"enum": ["url", "b64_json"]},
        "output_format": {"enum": ["png", "jpeg", "webp"], "description": "A wish: nothing is converted."},
        "stream": {"type": "boolean", "description": "Each picture is an event, as soon as it is there; the stream is kept alive until then."},
        "user": {"type": "string"},
    })
}

fn edit_fields() -> Value {
    let mut fields = image_fields();
    let file = json!({"type": "string", "format": "binary"});
    fields["image"] = json!({"type": "array", "items": file});
    fields["mask"] = json!({"type": "string", "format": "binary", "description": "Refused where it cannot be honoured."});
    fields
}

/// Which credentials make accounts, and where they are found, as the providers' cards state it.
fn providers() -> String {
    let mut table = "| provider | variable | where it is found |\n| --- | --- | --- |\n".to_owned();
    for card in PROVIDERS {
        for (variable, found) in card.credentials() {
            let name = variable.first_name();
            let _ = writeln!(table, "| {} | `{name}` | {found} |", card.title);
        }
    }
    table
}

/// Tells where tools and formats of the listed models come from. Those of APIs have their own, and are not named: which of them
/// there are is not for everybody who opens the page.
fn add_ledger(registry: &Registry, document: &mut Value) {
    let mut table = "Tools and formats that a model does not have itself the gateway has for it (`TOOLS`); models of APIs have their own.\n\n\
        | provider | models | tools | formats |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for provider in registry.providers() {
        let mut rows: BTreeMap<[&str; 2], Vec<String>> = BTreeMap::new();
        for model in provider.models() {
            let candidate = registry.own(provider, model.clone());
            let own = fields::support(provider.fields_of(model), Field::Tools);
            if own == Support::Honoured {
                continue;
            }
            let origins = [Field::Tools, Field::Format].map(|field| candidate.origin(field));
            rows.entry(origins).or_default().push(model.id.clone());
        }
        for ([tools, formats], models) in rows {
            let _ = writeln!(
                table,
                "| {} | {} | {tools} | {formats} |",
                provider.name(),
                models.join(", ")
            );
        }
    }
    if let Some(Value::String(words)) = document.pointer_mut("/info/description") {
        words.push('\n');
        words.push_str(&table);
    }
}

/// Every documented field with its fate where a provider says nothing else.
fn request_fields() -> Map<String, Value> {
    let describe = |support: Support| match support {
        Support::Honoured => "Honoured.",
        Support::Emulated => "Done by the gateway, unless the provider does it itself.",
        Support::Ignored => {
            "Without effect unless the model's entry in /v1/models says otherwise; named in `X-Hive-Ignored`."
        }
        Support::Refused => {
            "Refused with 400 `unsupported_parameter` unless the model's entry in /v1/models says otherwise."
        }
    };
    let schema = |field: &str| match field {
        "messages" => {
            json!({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"], "properties": {
            "role": {"enum": ["developer", "system", "user", "assistant", "tool", "function"]}, "content": {"type": ["string", "array", "null"]}}}})
        }
        "model" => json!({"type": "string"}),
        "stream" => json!({"type": "boolean"}),
        "n" => {
            json!({"type": "integer", "minimum": 1, "maximum": crate::chat::request::MAX_CHOICES})
        }
        _ => json!({}),
    };
    FIELDS
        .iter()
        .map(|(name, field)| {
            let mut schema = schema(name);
            schema["description"] = json!(describe(field.usual()));
            ((*name).to_owned(), schema)
        })
        .collect()
}
