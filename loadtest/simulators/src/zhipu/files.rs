//! Uploads, and the videos that are made of them. Source: wire/zhipu.md §3, §4.2, §4.4.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Attached,
    refusal::{self, Refusal},
};
use crate::{
    Call, Reply, Request,
    form::{self, Part},
};

/// What clients allow, in bytes.
const MOST: usize = 100 << 20;
/// How often a video is polled before it is finished.
const POLLS: u32 = 2;
/// §4.4: polled every second at the most; less a clock's slack.
const POLL_EVERY: Duration = Duration::from_millis(900);
const CHOICES: [(&str, &[&str]); 3] = [
    (
        "video_style",
        &["", "卡通3D", "黑白老照片", "油画", "电影感"],
    ),
    (
        "emotional_atmosphere",
        &["", "温馨和谐", "生动活泼", "紧张刺激", "凄凉寂寞"],
    ),
    ("mirror_mode", &["", "水平", "垂直", "推近", "拉远"]),
];

/// Uploads by `file_id`, pictures for videos by `source_id`, videos by `chat_id`.
#[derive(Debug, Default)]
pub(super) struct Files {
    uploads: HashMap<String, Upload>,
    sources: HashMap<String, Option<usize>>,
    videos: HashMap<String, Video>,
}

#[derive(Debug)]
struct Upload {
    /// `None`: it came without a token.
    account: Option<usize>,
    result: Value,
}

#[derive(Debug)]
struct Video {
    account: usize,
    polls_left: u32,
    polled: Option<Instant>,
    failed: bool,
    /// How large it is to be: `bytes:N` in the prompt.
    bytes: u64,
}

/// Which of the three uploads a form is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    File,
    Chat,
    Static,
}

impl Files {
    /// Takes a form in.
    pub(super) fn upload(
        &mut self,
        request: &Request,
        account: Option<usize>,
        way: Way,
        base: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let parts = form::read(&request.header("content-type"), &request.body)
            .and_then(|parts| fields(parts, way));
        let file = parts.map_err(|what| {
            call.violate(what);
            refusal::bad_request()
        })?;
        if file.data.is_empty() || file.data.len() > MOST {
            call.violate(format!("the file has {} bytes", file.data.len()));
            return Err(refusal::bad_request());
        }
        let content_type = file.content_type.clone().unwrap_or_default();
        call.note("contentType", content_type.clone());
        call.note("bytes", file.data.len());
        let (id, source) = (
            Uuid::new_v4().simple().to_string(),
            Uuid::new_v4().simple().to_string(),
        );
        let mut result = json!({
            "file_id": id, "source_id": source, "file_name": file.filename, "file_size": file.data.len(),
            "file_url": format!("{base}/__sim/picture.png?file={id}&sign=a%2Fb"),
        });
        if content_type.starts_with("image/") {
            result["width"] = json!(1024);
            result["height"] = json!(768);
        }
        if way == Way::Static {
            self.sources.insert(source, account);
        } else {
            let upload = Upload {
                account,
                result: result.clone(),
            };
            self.uploads.insert(id, upload);
        }
        Ok(refusal::success(&match way {
            Way::Chat => json!([result]),
            Way::File | Way::Static => result,
        }))
    }

    /// Whether a question may use what it refers to.
    pub(super) fn allow(
        &self,
        files: &[Attached],
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for Attached { is_image, item } in files {
            let id = item.get("file_id").and_then(Value::as_str);
            let upload = id.and_then(|id| self.uploads.get(id));
            let own = upload.filter(|upload| upload.account.is_none_or(|own| own == account));
            if let Err(what) = own
                .ok_or_else(|| "file_id is of no upload of this account".to_owned())
                .and_then(|own| same(*is_image, item, &own.result))
            {
                call.violate(what);
                return Err(refusal::bad_request());
            }
        }
        Ok(())
    }

    /// `POST /chatglm/video-api/v1/chat`.
    pub(super) fn video(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        if let Err(what) = self.video_body(body, account) {
            call.violate(what);
            return Err(refusal::bad_request());
        }
        call.prompt = body
            .get("prompt")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let prompt = call.prompt.as_deref().unwrap_or_default();
        let bytes = prompt
            .split_whitespace()
            .find_map(|word| word.strip_prefix("bytes:")?.parse().ok());
        let [chat, conversation] = [(); 2].map(|()| Uuid::new_v4().simple().to_string());
        let video = Video {
            account,
            polls_left: POLLS,
            polled: None,
            failed: false,
            bytes: bytes.unwrap_or(0),
        };
        self.videos.insert(chat.clone(), video);
        Ok(refusal::success(
            &json!({"chat_id": chat, "conversation_id": conversation}),
        ))
    }

    fn video_body(&self, body: &Value, account: usize) -> Result<(), String> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if text(body.get("conversation_id")).as_deref() != Some("") {
            return Err("conversation_id is not \"\"".to_owned());
        }
        if text(body.get("prompt")).is_none_or(|prompt| prompt.is_empty()) {
            return Err("prompt is missing or empty".to_owned());
        }
        let extra = body.get("advanced_parameter_extra");
        for (name, choices) in CHOICES {
            let chosen = text(extra.and_then(|extra| extra.get(name)));
            if !chosen.is_some_and(|chosen| choices.contains(&chosen.as_str())) {
                return Err(format!(
                    "advanced_parameter_extra.{name} is none of its choices"
                ));
            }
        }
        let Some(list) = body.get("source_list") else {
            return Ok(());
        };
        let known = |source: &Value| {
            let source = source.as_str().and_then(|source| self.sources.get(source));
            source.is_some_and(|own| own.is_none_or(|own| own == account))
        };
        if list.as_array().is_some_and(|list| list.iter().all(known)) {
            return Ok(());
        }
        Err("source_list holds what was not uploaded for a video".to_owned())
    }

    /// `GET …/video-api/v1/chat/status/{chat_id}`.
    pub(super) fn status(
        &mut self,
        id: &str,
        account: usize,
        base: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let own = self.videos.get_mut(id);
        let Some(video) = own.filter(|video| video.account == account) else {
            call.violate(format!("{id:?} is no video of this account"));
            return Err(refusal::bad_request());
        };
        if video
            .polled
            .is_some_and(|polled| polled.elapsed() < POLL_EVERY)
        {
            call.violate("the video is polled more than once a second");
        }
        video.polled = Some(Instant::now());
        video.failed |= call.fault == Some("video_failed");
        if video.failed {
            return Ok(refusal::success(
                &json!({"status": "fail", "msg": "视频生成失败"}),
            ));
        }
        let Some(left) = video.polls_left.checked_sub(1) else {
            return Ok(refusal::success(&json!({
                "status": "finished", "cover_url": format!("{base}/__sim/picture.png?cover={id}"),
                "video_url": format!("{base}/__sim/video.mp4?bytes={}&id={id}", video.bytes), "video_duration": 6, "resolution": "1440x960",
            })));
        };
        video.polls_left = left;
        let status = if left + 1 == POLLS {
            "init"
        } else {
            "processing"
        };
        Ok(refusal::success(&json!({"status": status, "msg": ""})))
    }

    /// `DELETE …/video-api/v1/chat/{chat_id}`.
    pub(super) fn forget(
        &mut self,
        id: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let own = self.videos.get(id);
        if own.is_none_or(|video| video.account != account) {
            call.violate(format!("{id:?} is no video of this account"));
            return Err(refusal::bad_request());
        }
        self.videos.remove(id);
        Ok(refusal::success(&json!({})))
    }

    /// `POST …/composite_video`: music for a finished video.
    pub(super) fn compose(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let [chat, key, audio] =
            ["chat_id", "key", "audio_id"].map(|key| body.get(key).and_then(Value::as_str));
        let own = chat.and_then(|chat| self.videos.get(chat));
        let finished = own.is_some_and(|own| own.account == account && own.polls_left == 0);
        if !finished || key.is_none() || audio.is_none() {
            call.violate("chat_id, key and audio_id are not those of a finished video");
            return Err(refusal::bad_request());
        }
        Ok(refusal::success(&json!({})))
    }
}

/// The file of a form that has the fields of its kind and no other.
fn fields(mut parts: Vec<Part>, way: Way) -> Result<Part, String> {
    let mut names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
    names.sort_unstable();
    let wanted: &[&str] = match way {
        Way::Chat => &["assistant_id", "file", "from"],
        Way::File | Way::Static => &["file"],
    };
    if names != wanted {
        return Err(format!("the form's fields are {names:?}, not {wanted:?}"));
    }
    let from = parts.iter().find(|part| part.name == "from");
    if from.is_some_and(|part| part.text() != "chat") {
        return Err("the field from is not \"chat\"".to_owned());
    }
    let at = parts.iter().position(|part| part.name == "file");
    let file = at
        .map(|at| parts.swap_remove(at))
        .ok_or("there is no file")?;
    if file.filename.as_deref().is_none_or(str::is_empty) || file.content_type.is_none() {
        return Err("the file has no filename or no content type".to_owned());
    }
    Ok(file)
}

/// Whether an item of a question is what the upload had given.
fn same(is_image: bool, item: &Value, result: &Value) -> Result<(), String> {
    for (key, given) in result.as_object().into_iter().flatten() {
        if item.get(key) != Some(given) {
            return Err(format!("{key} of the upload is missing or another"));
        }
    }
    if is_image != result.get("width").is_some() {
        return Err("a picture is an image item, anything else a file item".to_owned());
    }
    if !is_image {
        return Ok(());
    }
    if item.get("image_url") != result.get("file_url") {
        return Err("image_url is not the upload's file_url".to_owned());
    }
    match item.get("order").and_then(Value::as_u64) {
        Some(_) => Ok(()),
        None => Err("an image has no order".to_owned()),
    }
}
