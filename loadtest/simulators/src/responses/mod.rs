//! An upstream that speaks Responses. Source: OpenAI's public API reference, Responses; there is no wire page for it.

mod ask;
mod stream;

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    ask::Ask,
    stream::{End, Response},
};
use super::{
    ACCOUNTS, Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    lane,
    openai::refusal::{self, Refusal},
    prompt::{Answer, Question},
    reply::Act,
};

const FAULTS: &[Fault] = &[
    ("unauthorized", ASK),
    ("forbidden", ASK),
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("insufficient_quota", ASK),
    ("bad_request", ASK),
    ("context_length_exceeded", ASK),
    ("content_filter", ASK), // HTTP 400
    ("server_error", ASK),
    ("overloaded", ASK),
    ("failed_before_text", ASK),
    ("failed_after_text", ASK), // response.failed
    ("failed_rate_limit", ASK), // response.failed with a code, before the text
    ("error_after_text", ASK),  // event: error
    ("finish_length", ASK),
    ("finish_content_filter", ASK),
    ("only_completed", ASK), // no deltas: all stands in the last event
];

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Responses {
        base: base.to_owned(),
    })
}

struct Responses {
    base: String,
}

fn key(number: usize) -> String {
    format!("sk-rsim-{number}-Zm9yLXRlc3RzLW9ubHk")
}

impl Simulator for Responses {
    fn faults(&self) -> &'static [Fault] {
        FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        lane(
            3,
            accounts,
            key,
            [
                ("NAME", "rsim".to_owned()),
                ("KIND", "responses".to_owned()),
                ("BASE_URL", format!("{}/v1", self.base)),
                ("MODELS", ask::MODELS.join(",")),
            ],
        )
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Nothing is kept between two calls: `store` is false for everybody here.
    fn reset(&self) {}
}

impl Responses {
    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        if request.path != "/v1/responses" || request.method != "POST" {
            call.violate(format!("no such door: {} {}", request.method, request.path));
            let message = format!("Invalid URL ({} {})", request.method, request.path);
            return Err(refusal::error(
                404,
                "invalid_request_error",
                None,
                None,
                &message,
            ));
        }
        ASK.clone_into(&mut call.step);
        let authorization = request.header("authorization");
        let bearer = authorization.strip_prefix("Bearer ");
        call.account = (1..=ACCOUNTS).find(|number| bearer == Some(&key(*number)));
        if call.account.is_none() {
            call.violate("the Authorization header is not \"Bearer \" and a known key");
            return Err(refusal::unauthorized());
        }
        let body = request.json().map_err(|what| {
            call.violate(what.clone());
            refusal::bad_request(&what, None, None)
        })?;
        let ask = ask::read(&body, call)?;
        call.model = Some(ask.model.clone());
        call.turns.clone_from(&ask.turns);
        call.prompt = body.get("input").map(Value::to_string);
        for (name, value) in body.as_object().into_iter().flatten() {
            if name != "input" {
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
            Some("failed_before_text") => End::Failed(0, "server_error"),
            Some("failed_after_text") => End::Failed(2, "server_error"),
            Some("failed_rate_limit") => End::Failed(0, "rate_limit_exceeded"),
            Some("error_after_text") => End::Error(2),
            Some("finish_length") => End::Length,
            Some("finish_content_filter") => End::Filtered,
            Some("only_completed") => End::Alone,
            _ => End::Completed,
        };
        let response = Response {
            answer: answer.clone(),
            end,
            id: Uuid::new_v4().simple().to_string(),
            ask,
        };
        if response.ask.stream {
            return Ok(Reply::stream(
                "text/event-stream; charset=utf-8",
                answer.travel(response.acts()),
            ));
        }
        let whole = response.whole();
        // It comes when its last piece would have come.
        let pieces = u32::try_from(answer.text.len()).unwrap_or(u32::MAX);
        let pause = answer.pace.saturating_mul(pieces);
        if pause.is_zero() {
            return Ok(Reply::json(200, &whole));
        }
        let acts = [Act::Pause(pause), Act::say(whole.to_string()), Act::Done];
        Ok(Reply::stream(
            "application/json",
            Box::new(acts.into_iter()),
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

/// The members that every answer repeats of its request.
fn echo(ask: &Ask) -> Value {
    json!({
        "object": "response", "created_at": 1_767_780_000, "model": ask.model, "error": null, "incomplete_details": null,
        "instructions": null, "metadata": {}, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "store": false, "temperature": 1.0, "top_p": 1.0, "truncation": "disabled", "text": {"format": {"type": "text"}},
        "reasoning": {"effort": null, "summary": null}, "max_output_tokens": null, "previous_response_id": null, "usage": null,
    })
}
