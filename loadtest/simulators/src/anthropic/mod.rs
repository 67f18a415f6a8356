//! An upstream that speaks Anthropic's messages. Source: Anthropic's public API reference, Messages; there is no wire page
//! for it.

mod ask;
mod refusal;
mod stream;

use serde_json::Value;
use uuid::Uuid;

use self::{
    ask::Ask,
    refusal::Refusal,
    stream::{End, Message},
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
    ("credit_spent", ASK), // HTTP 400 with words
    ("bad_request", ASK),
    ("too_long", ASK), // "prompt is too long: …"
    ("not_found", ASK),
    ("server_error", ASK),
    ("overloaded", ASK), // HTTP 529
    ("error_before_text", ASK),
    ("error_after_text", ASK), // event: error
    ("max_tokens", ASK),
    ("refusal", ASK), // a stop reason
    ("empty", ASK),
];

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Anthropic {
        base: base.to_owned(),
    })
}

struct Anthropic {
    base: String,
}

fn key(number: usize) -> String {
    format!("sk-ant-sim-{number}-Zm9yLXRlc3RzLW9ubHk")
}

impl Simulator for Anthropic {
    fn faults(&self) -> &'static [Fault] {
        FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        lane(
            4,
            accounts,
            key,
            [
                ("NAME", "asim".to_owned()),
                ("KIND", "anthropic".to_owned()),
                ("BASE_URL", self.base.clone()),
                ("MODELS", ask::MODELS.join(",")),
            ],
        )
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Nothing is kept between two calls.
    fn reset(&self) {}
}

impl Anthropic {
    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        if request.path != "/v1/messages" || request.method != "POST" {
            call.violate(format!("no such door: {} {}", request.method, request.path));
            return Err(refusal::error(404, "not_found_error", "Not found"));
        }
        ASK.clone_into(&mut call.step);
        let presented = request.header("x-api-key");
        call.account = (1..=ACCOUNTS).find(|number| presented == key(*number));
        if call.account.is_none() {
            call.violate("x-api-key is no known key");
            return Err(refusal::unauthorized());
        }
        if request.header("anthropic-version").is_empty() {
            call.violate("no anthropic-version");
            let words = "anthropic-version: header is required";
            return Err(refusal::bad_request(words));
        }
        let body = request.json().map_err(|what| {
            call.violate(what.clone());
            refusal::bad_request(&what)
        })?;
        let ask = ask::read(&body, &request.header("anthropic-beta"), call)?;
        call.model = Some(ask.model.clone());
        call.turns.clone_from(&ask.turns);
        call.prompt = body.get("messages").map(Value::to_string);
        for (name, value) in body.as_object().into_iter().flatten() {
            if name != "messages" {
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
        let mut answer = self.say(&ask, control);
        let is_too_long = answer.text.len() > ask.most_tokens;
        answer.text.truncate(ask.most_tokens);
        let end = match fault {
            Some("error_before_text") => End::Error(0),
            Some("error_after_text") => End::Error(2),
            Some("max_tokens") => End::Length,
            Some("refusal") => End::Refused,
            Some("empty") => End::Empty,
            _ if is_too_long => End::Length,
            _ => End::Turn,
        };
        let message = Message {
            answer: answer.clone(),
            end,
            id: Uuid::new_v4().simple().to_string(),
            ask,
        };
        if message.ask.stream {
            return Ok(Reply::stream(
                "text/event-stream; charset=utf-8",
                answer.travel(message.acts()),
            ));
        }
        // What ends a stream with an error leaves nothing of an answer in one piece.
        if matches!(end, End::Error(_)) {
            return Err(refusal::overloaded());
        }
        let whole = message.whole();
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
            thinking: ask.thinks,
            search: false,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}
