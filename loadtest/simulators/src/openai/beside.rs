//! What the API has beside chat: embeddings, moderations, sound, pictures and videos. Source: OpenAI's public API reference.
//!
//! A video is made in a few looks; `bytes:N` in its prompt says how large it is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{
    Call, Reply, Request, form,
    media::{Film, TONE},
    reply::Act,
};

/// A model for each kind of question; no other answers it.
pub(super) const MODELS: [&str; 6] = [EMBEDDING, WHISPER, TTS, MODERATION, IMAGE, VIDEO];
const EMBEDDING: &str = "sim-embedding";
const WHISPER: &str = "sim-whisper";
const TTS: &str = "sim-tts";
const MODERATION: &str = "sim-moderation";
const IMAGE: &str = "sim-image";
const VIDEO: &str = "sim-video";

/// Looks until a video is there.
const LOOKS: u32 = 3;

/// The videos, by id.
#[derive(Debug, Default)]
pub(super) struct Videos(Mutex<BTreeMap<String, Video>>);

#[derive(Clone, Debug)]
struct Video {
    account: Option<usize>,
    prompt: String,
    seconds: String,
    size: String,
    looks: u32,
    failed: bool,
    remixed: Option<String>,
}

/// The step and method of a path beside chat.
pub(super) fn step(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/v1/embeddings" => ("embeddings", "POST"),
        "/v1/moderations" => ("moderations", "POST"),
        "/v1/audio/transcriptions" => ("transcriptions", "POST"),
        "/v1/audio/translations" => ("translations", "POST"),
        "/v1/audio/speech" => ("speech", "POST"),
        "/v1/images/generations" => ("images", "POST"),
        "/v1/images/edits" => ("image_edits", "POST"),
        "/v1/videos" if method == "GET" => ("video_list", "GET"),
        "/v1/videos" => ("video", "POST"),
        _ => match path.strip_prefix("/v1/videos/")?.split_once('/') {
            None if method == "DELETE" => ("video_delete", "DELETE"),
            None => ("video_status", "GET"),
            Some((_, "content")) => ("video_content", "GET"),
            Some((_, "remix")) => ("video_remix", "POST"),
            Some(_) => return None,
        },
    })
}

/// Answers one of these steps. `fault` is what the call has drawn and is no refusal.
pub(super) fn answer(
    step: &str,
    request: &Request,
    call: &mut Call,
    videos: &Videos,
) -> Result<Reply, Refusal> {
    match step {
        "embeddings" => embeddings(request, call),
        "moderations" => moderations(request, call),
        "transcriptions" | "translations" => transcription(step, request, call),
        "speech" => speech(request, call),
        "images" => images(&fields(request, call)?, call),
        "image_edits" => {
            let fields = fields(request, call)?;
            if !fields
                .iter()
                .any(|field| field.name.starts_with("image") && field.is_file)
            {
                return Err(missing("image", call));
            }
            images(&fields, call)
        }
        "video" => videos.create(request, call),
        "video_list" => Ok(videos.list(call)),
        _ => {
            let path = request.path.strip_prefix("/v1/videos/").unwrap_or_default();
            let id = path.split('/').next().unwrap_or_default();
            videos.about(step, id, request, call)
        }
    }
}

/// A member of a JSON body or a field of a form.
struct Field {
    name: String,
    text: String,
    bytes: usize,
    is_file: bool,
    value: Value,
}

/// The body, as JSON or as a form.
fn fields(request: &Request, call: &mut Call) -> Result<Vec<Field>, Refusal> {
    let content_type = request.header("content-type");
    let read = if content_type.starts_with("multipart/form-data") {
        form::read(&content_type, &request.body).map(|parts| {
            let field = |part: form::Part| Field {
                text: if part.filename.is_some() {
                    part.filename.clone().unwrap_or_default()
                } else {
                    part.text()
                },
                is_file: part.filename.is_some(),
                bytes: part.data.len(),
                value: Value::String(part.text()),
                name: part.name,
            };
            parts.into_iter().map(field).collect::<Vec<_>>()
        })
    } else {
        request.json().and_then(|body| {
            let object = body.as_object().ok_or("the body is no JSON object")?;
            let field = |(name, value): (&String, &Value)| Field {
                name: name.clone(),
                text: value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
                bytes: 0,
                is_file: false,
                value: value.clone(),
            };
            let said = object.iter().filter(|(_, value)| !value.is_null());
            Ok(said.map(field).collect())
        })
    };
    let fields = read.map_err(|what| {
        call.violate(what.clone());
        refusal::bad_request(&what, None, None)
    })?;
    let mut names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    call.note("fields", json!(names));
    names.sort_unstable();
    names.dedup();
    if names.len() < fields.len() && !names.iter().any(|name| name.ends_with("[]")) {
        call.violate("a field comes twice");
    }
    if let Some(model) = text(&fields, "model") {
        call.model = Some(model);
    }
    Ok(fields)
}

fn text(fields: &[Field], name: &str) -> Option<String> {
    let field = fields.iter().find(|field| field.name == name)?;
    Some(field.text.clone())
}

fn missing(name: &str, call: &mut Call) -> Refusal {
    let message = format!("Missing required parameter: '{name}'.");
    call.violate(message.clone());
    refusal::bad_request(&message, Some(name), Some("missing_required_parameter"))
}

fn needed(fields: &[Field], name: &str, call: &mut Call) -> Result<String, Refusal> {
    text(fields, name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| missing(name, call))
}

fn model(fields: &[Field], known: &str, call: &mut Call) -> Result<(), Refusal> {
    let asked = needed(fields, "model", call)?;
    call.model = Some(asked.clone());
    if asked == known {
        Ok(())
    } else {
        Err(refusal::not_found(&asked))
    }
}

fn embeddings(request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
    let fields = fields(request, call)?;
    model(&fields, EMBEDDING, call)?;
    let input = fields.iter().find(|field| field.name == "input");
    let inputs = match input.map(|field| &field.value) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) if !texts.is_empty() => {
            texts.iter().map(|text| text.to_string()).collect()
        }
        _ => return Err(missing("input", call)),
    };
    let is_base64 = text(&fields, "encoding_format").as_deref() == Some("base64");
    let embedding = |text: &String| {
        let numbers = [text.len() as f32, 0.5, -0.25];
        if is_base64 {
            let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(numbers)
        }
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(at, text)| json!({"object": "embedding", "index": at, "embedding": embedding(text)}))
        .collect();
    Ok(Reply::json(
        200,
        &json!({"object": "list", "data": data, "model": EMBEDDING, "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
    )
    .header("x-ratelimit-remaining-requests", "59")
    .header("set-cookie", "upstream=secret"))
}

fn moderations(request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
    let fields = fields(request, call)?;
    if text(&fields, "model").is_some() {
        model(&fields, MODERATION, call)?;
    }
    let input = needed(&fields, "input", call)?;
    let flagged = input.contains("violence");
    Ok(Reply::json(
        200,
        &json!({"id": "modr-1", "model": MODERATION, "results": [{"flagged": flagged, "categories": {"violence": flagged},
            "category_scores": {"violence": if flagged { 0.9 } else { 0.1 }}, "category_applied_input_types": {"violence": ["text"]}}]}),
    ))
}

fn transcription(step: &str, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
    let fields = fields(request, call)?;
    model(&fields, WHISPER, call)?;
    let file = fields
        .iter()
        .find(|field| field.name == "file" && field.is_file);
    let Some(file) = file else {
        return Err(missing("file", call));
    };
    call.note("bytes", file.bytes);
    let said = format!("{step} of {} with {} bytes", file.text, file.bytes);
    match text(&fields, "response_format").as_deref() {
        Some("text") => return Ok(Reply::new(200, "text/plain; charset=utf-8", said)),
        None | Some("json") => {}
        Some(_) => {
            return Err(refusal::bad_request(
                "no such format",
                Some("response_format"),
                None,
            ));
        }
    }
    if text(&fields, "stream").as_deref() == Some("true") {
        let delta = json!({"type": "transcript.text.delta", "delta": said});
        let done = json!({"type": "transcript.text.done", "text": said});
        let acts = [
            Act::say(format!("event: transcript.text.delta\ndata: {delta}\n\n")),
            Act::say(format!("event: transcript.text.done\ndata: {done}\n\n")),
            Act::Done,
        ];
        return Ok(Reply::stream(
            "text/event-stream",
            Box::new(acts.into_iter()),
        ));
    }
    Ok(Reply::json(200, &json!({"text": said})))
}

fn speech(request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
    let fields = fields(request, call)?;
    model(&fields, TTS, call)?;
    needed(&fields, "input", call)?;
    needed(&fields, "voice", call)?;
    let pieces = TONE
        .chunks(100)
        .map(|piece| Act::Say(Bytes::from_static(piece)));
    Ok(Reply::stream(
        "audio/mpeg",
        Box::new(pieces.chain([Act::Done])),
    ))
}

/// A white square of one pixel.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg==";

fn images(fields: &[Field], call: &mut Call) -> Result<Reply, Refusal> {
    if text(fields, "model").is_some() {
        model(fields, IMAGE, call)?;
    }
    call.prompt = Some(needed(fields, "prompt", call)?);
    let count = text(fields, "n").and_then(|n| n.parse().ok()).unwrap_or(1);
    let data: Vec<Value> = (0..count).map(|_| json!({"b64_json": PICTURE})).collect();
    Ok(Reply::json(
        200,
        &json!({"created": 1_767_780_000, "data": data}),
    ))
}

impl Videos {
    pub(super) fn reset(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Video>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let fields = fields(request, call)?;
        if text(&fields, "model").is_some() {
            model(&fields, VIDEO, call)?;
        }
        let prompt = needed(&fields, "prompt", call)?;
        call.prompt = Some(prompt.clone());
        let reference = fields.iter().find(|field| field.name == "input_reference");
        if let Some(reference) = reference {
            call.note("reference", reference.bytes);
        }
        let seconds = text(&fields, "seconds").unwrap_or_else(|| "4".to_owned());
        if !["4", "8", "12"].contains(&seconds.as_str()) {
            let message = "Invalid value for 'seconds'.";
            return Err(refusal::bad_request(
                message,
                Some("seconds"),
                Some("invalid_value"),
            ));
        }
        let video = Video {
            account: call.account,
            prompt,
            seconds,
            size: text(&fields, "size").unwrap_or_else(|| "720x1280".to_owned()),
            looks: 0,
            failed: call.fault == Some("video_failed"),
            remixed: None,
        };
        Ok(self.keep(video))
    }

    fn keep(&self, video: Video) -> Reply {
        let id = format!("video_{}", Uuid::new_v4().simple());
        let reply = Reply::json(200, &shown(&id, &video));
        self.locked().insert(id, video);
        reply
    }

    fn list(&self, call: &Call) -> Reply {
        let videos = self.locked();
        let own = videos
            .iter()
            .filter(|(_, video)| video.account == call.account);
        let data: Vec<Value> = own.map(|(id, video)| shown(id, video)).collect();
        let (first, last) = (
            data.first().map(|it| it["id"].clone()),
            data.last().map(|it| it["id"].clone()),
        );
        Reply::json(
            200,
            &json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": false}),
        )
    }

    fn about(
        &self,
        step: &str,
        id: &str,
        request: &Request,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let mut videos = self.locked();
        let own = videos
            .get_mut(id)
            .filter(|video| video.account == call.account);
        let Some(video) = own else {
            let message = format!("Video {id} not found.");
            return Err(refusal::error(
                404,
                "invalid_request_error",
                Some("not_found"),
                None,
                &message,
            ));
        };
        match step {
            "video_status" => {
                video.looks += 1;
                Ok(Reply::json(200, &shown(id, video)).header("openai-poll-after-ms", "50"))
            }
            "video_content" if video.looks < LOOKS || video.failed => Err(refusal::bad_request(
                "Video is not ready yet.",
                None,
                Some("video_not_ready"),
            )),
            "video_content" => {
                if request.query.contains("variant=thumbnail") {
                    let picture = STANDARD.decode(PICTURE).unwrap_or_default();
                    return Ok(Reply::new(200, "image/webp", picture));
                }
                let bytes = video.prompt.split_whitespace().find_map(|word| {
                    let bytes = word.strip_prefix("bytes:")?;
                    bytes.parse().ok()
                });
                Ok(Film::of(bytes.unwrap_or(0)).serve(request))
            }
            "video_delete" => {
                videos.remove(id);
                Ok(Reply::json(
                    200,
                    &json!({"id": id, "object": "video.deleted", "deleted": true}),
                ))
            }
            _ => {
                let remix = Video {
                    looks: 0,
                    remixed: Some(id.to_owned()),
                    ..video.clone()
                };
                drop(videos);
                let fields = fields(request, call)?;
                let prompt = needed(&fields, "prompt", call)?;
                Ok(self.keep(Video { prompt, ..remix }))
            }
        }
    }
}

fn shown(id: &str, video: &Video) -> Value {
    let (status, progress) = match video.looks {
        _ if video.failed && video.looks > 0 => ("failed", 0),
        0 => ("queued", 0),
        looks if looks < LOOKS => ("in_progress", looks * 100 / LOOKS),
        _ => ("completed", 100),
    };
    let error = (status == "failed")
        .then(|| json!({"code": "moderation_blocked", "message": "Your request was blocked by our moderation system."}));
    let completed = (status == "completed").then_some(1_767_780_100);
    json!({
        "id": id, "object": "video", "model": VIDEO, "status": status, "progress": progress, "created_at": 1_767_780_000,
        "completed_at": completed, "expires_at": null, "seconds": video.seconds, "size": video.size, "prompt": video.prompt,
        "remixed_from_video_id": video.remixed, "error": error,
    })
}
