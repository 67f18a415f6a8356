//! A plain OpenAI-compatible upstream. Source: OpenAI's public API reference; there is no wire page for it.

mod ask;
mod beside;
pub(super) mod refusal;
mod stream;

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    ask::Ask,
    refusal::Refusal,
    stream::{Completion, End},
};
use super::{
    ACCOUNTS, Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    lane,
    prompt::{Answer, Question},
    reply::Act,
};

const FAULTS: &[Fault] = &[
    ("unauthorized", ASK),
    ("forbidden", ASK),
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("insufficient_quota", ASK),
    ("bad_request", ASK), // names a param
    ("context_length_exceeded", ASK),
    ("content_filter", ASK), // HTTP 400
    ("not_found", ASK),
    ("server_error", ASK), // HTTP 500 with OpenAI's error body
    ("overloaded", ASK),   // HTTP 503 with OpenAI's error body
    ("not_json", ASK),     // a page under HTTP 200
    ("error_before_text", ASK),
    ("error_after_text", ASK), // an error object in the stream
    ("finish_length", ASK),
    ("finish_content_filter", ASK),
    ("empty", ASK),
    ("no_models", "models"),   // there is no such path
    ("video_failed", "video"), // accepted, and moderated while it is made
];

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(OpenAi {
        base: base.to_owned(),
        videos: beside::Videos::default(),
    })
}

struct OpenAi {
    base: String,
    videos: beside::Videos,
}

fn models() -> impl Iterator<Item = &'static str> {
    ask::MODELS.into_iter().chain(beside::MODELS)
}

fn key(number: usize) -> String {
    format!("sk-sim-{number}-Zm9yLXRlc3RzLW9ubHk")
}

impl Simulator for OpenAi {
    fn faults(&self) -> &'static [Fault] {
        FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        lane(
            1,
            accounts,
            key,
            [
                ("NAME", "sim".to_owned()),
                ("BASE_URL", format!("{}/v1", self.base)),
                ("MODELS", models().collect::<Vec<_>>().join(",")),
            ],
        )
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Only videos are kept between two calls.
    fn reset(&self) {
        self.videos.reset();
    }
}

impl OpenAi {
    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let known = match request.path.as_str() {
            "/v1/chat/completions" => Some((ASK, "POST")),
            "/v1/models" => Some(("models", "GET")),
            path => beside::step(&request.method, path),
        };
        let (step, method) = match (known, request.path.as_str()) {
            (Some(known), _) => known,
            (None, path) => {
                call.violate("no such path");
                let message = format!("Invalid URL ({} {path})", request.method);
                return Err(refusal::error(
                    404,
                    "invalid_request_error",
                    None,
                    None,
                    &message,
                ));
            }
        };
        step.clone_into(&mut call.step);
        if request.method != method {
            call.violate(format!("the method is {}, not {method}", request.method));
            return Err(refusal::error(
                405,
                "invalid_request_error",
                None,
                None,
                "Not allowed",
            ));
        }
        let authorization = request.header("authorization");
        let bearer = authorization.strip_prefix("Bearer ");
        call.account = (1..=ACCOUNTS).find(|number| bearer == Some(&key(*number)));
        if call.account.is_none() {
            call.violate("the Authorization header is not \"Bearer \" and a known key");
            return Err(refusal::unauthorized());
        }
        if step == ASK {
            return self.ask(request, call, control);
        }
        let fault = control.strike(call)?;
        if fault == Some("no_models") {
            let message = "Invalid URL (GET /v1/models)";
            return Err(refusal::error(
                404,
                "invalid_request_error",
                None,
                None,
                message,
            ));
        }
        if let Some(refusal) = fault.and_then(refusal::refused) {
            return Err(refusal);
        }
        if step != "models" {
            return beside::answer(step, request, call, &self.videos);
        }
        let model = |id: &str| json!({"id": id, "object": "model", "created": 1_767_780_000, "owned_by": "sim"});
        Ok(Reply::json(
            200,
            &json!({"object": "list", "data": models().map(model).collect::<Vec<_>>()}),
        ))
    }

    fn ask(&self, request: &Request, call: &mut Call, control: &Control) -> Result<Reply, Refusal> {
        let body = request.json().map_err(|what| {
            call.violate(what.clone());
            refusal::bad_request(&what, None, None)
        })?;
        let ask = ask::read(&body, call)?;
        call.model = Some(ask.model.clone());
        call.turns.clone_from(&ask.turns);
        call.prompt = body.get("messages").map(Value::to_string);
        call.note("stream", ask.stream);
        for name in [
            "temperature",
            "max_tokens",
            "tools",
            "tool_choice",
            "stream_options",
            "reasoning_effort",
            "user",
        ] {
            if let Some(value) = body.get(name) {
                call.note(name, value.clone());
            }
        }
        if !ask::MODELS.contains(&ask.model.as_str()) {
            return Err(refusal::not_found(&ask.model));
        }
        let fault = control.strike(call)?;
        if let Some(refusal) = fault.and_then(refusal::refused) {
            return Err(refusal);
        }
        let answer = self.say(&ask, control);
        let end = match fault {
            Some("error_before_text") => End::Error(0),
            Some("error_after_text") => End::Error(2),
            Some("finish_length") => End::Length,
            Some("finish_content_filter") => End::Filtered,
            Some("empty") => End::Empty,
            _ => End::Stop,
        };
        let completion = Completion {
            answer: answer.clone(),
            end,
            id: Uuid::new_v4().simple().to_string(),
            ask,
        };
        if !completion.ask.stream {
            // What ends a stream with an error leaves nothing of an answer in one piece.
            if matches!(end, End::Error(_))
                && let Some(refusal) = refusal::refused("server_error")
            {
                return Err(refusal);
            }
            let whole = completion.whole();
            // It comes when its last piece would have come.
            let pieces = u32::try_from(answer.text.len()).unwrap_or(u32::MAX);
            let pause = answer.pace.saturating_mul(pieces);
            if pause.is_zero() {
                return Ok(Reply::json(200, &whole));
            }
            let acts = [Act::Pause(pause), Act::say(whole.to_string()), Act::Done];
            return Ok(Reply::stream(
                "application/json",
                Box::new(acts.into_iter()),
            ));
        }
        Ok(Reply::stream(
            "text/event-stream; charset=utf-8",
            answer.travel(completion.acts()),
        ))
    }

    fn say(&self, ask: &Ask, control: &Control) -> Answer {
        let user = ask.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map(|turn| turn.text.as_str()).unwrap_or_default(),
            model: &ask.model,
            thinking: ask.model == ask::REASONER,
            search: false,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}
