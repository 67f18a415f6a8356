//! What the page sends, as pure functions. Source: `wire/flowgpt.md` sections 3 to 5.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{account::Account, models::Target, sign::Mode};
use crate::upstream::Request;

/// The page that asks, wherever the service is.
const SITE: &str = "https://flowgpt.com";
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
/// What the page sends where nobody has moved its slider.
const TEMPERATURE: f64 = 0.7;

/// Where the service is, and what it is asked with.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// `FLOWGPT_BASE_URL`; it may have a path.
    pub(super) base_url: String,
    /// `FLOWGPT_SIGNATURE_MODE`.
    pub(super) mode: Mode,
    /// `FLOWGPT_STALL_TIMEOUT_S`, where it is set.
    pub(super) stall: Option<Duration>,
}

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) site: &'a Site,
    pub(super) account: &'a Account,
}

/// What is asked in a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Whom.
    pub(super) target: &'a Target,
    /// The last user message.
    pub(super) text: &'a str,
    /// The client's, whatever it is.
    pub(super) temperature: Option<f64>,
}

/// When a call is made, and what makes it new.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Unix time in whole seconds.
    pub(super) timestamp: u64,
    /// 32 lower-case hexadecimal characters, fresh for every call.
    pub(super) nonce: String,
}

/// `POST /conversation/create`: a conversation that knows these messages (a JSON list); [`conversation_id`] reads the
/// answer.
pub(super) fn create(caller: Caller<'_>, target: &Target, messages: String) -> Request {
    // Put together around the messages, which may be megabytes.
    let head = format!(
        r#"{{"promptId":{},"location":"CHAT_PAGE","messages":"#,
        // As JSON: an owner's prompt id may hold quotes.
        json!(target.prompt)
    );
    let pieces = vec![head.into(), messages.into(), Bytes::from_static(b"}")];
    post(caller, "create", "/conversation/create").pieces(pieces)
}

/// The id in the answer of [`create`].
pub(super) fn conversation_id(answer: &Value) -> Option<String> {
    match answer.get("id")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// `POST /v3/chat`: asks in a conversation; [`super::stream::Decoder`] reads the answer.
pub(super) fn chat(
    caller: Caller<'_>,
    question: Question<'_>,
    conversation_id: &str,
    moment: &Moment,
) -> Request {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Chat<'a> {
        model: &'a str,
        nsfw: bool,
        question: &'a str,
        temperature: f64,
        user_id: &'static str,
        prompt_id: &'a str,
        conversation_id: &'a str,
        document_ids: [(); 0],
        generate_image: bool,
        generate_audio: bool,
    }
    let account = caller.account;
    let signature = caller.site.mode.sign(
        moment.timestamp,
        &moment.nonce,
        account.device.expose(),
        account.authorization.expose(),
    );
    post(caller, "chat", "/v3/chat")
        .header("x-nonce", &moment.nonce)
        .header("x-timestamp", moment.timestamp.to_string())
        .header("x-signature", signature)
        .json(&Chat {
            model: &question.target.model,
            nsfw: false,
            question: question.text,
            // Section 4 bounds it: what is beyond may be refused.
            temperature: question.temperature.unwrap_or(TEMPERATURE).clamp(0.0, 2.0),
            user_id: "",
            prompt_id: &question.target.prompt,
            conversation_id,
            document_ids: [],
            generate_image: false,
            generate_audio: false,
        })
        // A nonce that the service has seen is refused.
        .once()
}

/// What both calls say.
fn post(caller: Caller<'_>, step: &'static str, path: &str) -> Request {
    let Caller { site, account } = caller;
    let mut request = Request::post(step, format!("{}{path}", site.base_url))
        .header("accept", "*/*")
        .header("accept-language", "en-US,en;q=0.9")
        .header("authorization", account.authorization.expose())
        .header("content-type", "application/json")
        .header("origin", SITE)
        .header("referer", format!("{SITE}/"))
        .header("user-agent", USER_AGENT)
        .header("x-flow-device-id", account.device.expose())
        .header("x-flow-language", "en");
    if let Some(token) = &account.waf_token {
        request = request.header("x-aws-waf-token", token.expose());
    }
    match site.stall {
        Some(stall) => request.timeout(stall),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Secret;

    fn account(waf: Option<&str>) -> Account {
        Account {
            variable: "FLOWGPT_BEARER_TOKEN".to_owned(),
            authorization: Secret::new("Bearer test-token-1"),
            device: Secret::new("aORT9gbujH92iIVYYVcTE"),
            waf_token: waf.map(Secret::new),
        }
    }

    fn site(stall: Option<Duration>) -> Site {
        Site {
            base_url: "https://a.example/prefix".to_owned(),
            mode: Mode::DeviceColon,
            stall,
        }
    }

    fn target() -> Target {
        Target {
            prompt: "p\"1".to_owned(),
            model: "FlowGPT-Ares".to_owned(),
        }
    }

    fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
        let mut headers = request.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.as_str() == name)?;
        value.to_str().ok()
    }

    fn body(request: &Request) -> String {
        String::from_utf8(request.body.concat()).unwrap()
    }

    #[test]
    fn a_conversation_is_opened_unsigned() {
        let (site, account) = (site(None), account(None));
        let caller = Caller {
            site: &site,
            account: &account,
        };
        let messages = r#"[{"role":"user","content":"hi"}]"#;
        let opened = create(caller, &target(), messages.to_owned());
        assert_eq!(opened.url, "https://a.example/prefix/conversation/create");
        assert_eq!(
            body(&opened),
            r#"{"promptId":"p\"1","location":"CHAT_PAGE","messages":[{"role":"user","content":"hi"}]}"#
        );
        for (name, value) in [
            ("accept", Some("*/*")),
            ("authorization", Some("Bearer test-token-1")),
            ("content-type", Some("application/json")),
            ("origin", Some("https://flowgpt.com")),
            ("referer", Some("https://flowgpt.com/")),
            ("x-flow-device-id", Some("aORT9gbujH92iIVYYVcTE")),
            ("x-flow-language", Some("en")),
            ("x-aws-waf-token", None),
            ("x-nonce", None),
            ("x-timestamp", None),
            ("x-signature", None),
        ] {
            assert_eq!(header(&opened, name), value, "{name}");
        }
        assert_eq!(opened.timeout, None);
    }

    #[test]
    fn a_question_is_signed() {
        let stall = Duration::from_secs(7);
        let (site, account) = (site(Some(stall)), account(Some("w-1")));
        let caller = Caller {
            site: &site,
            account: &account,
        };
        let moment = Moment {
            timestamp: 1_760_581_858,
            nonce: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        let target = target();
        let ask = |temperature| {
            let question = Question {
                target: &target,
                text: "问 \"?\"",
                temperature,
            };
            chat(caller, question, "c-1", &moment)
        };
        let asked = ask(None);
        assert_eq!(
            body(&asked),
            r#"{"model":"FlowGPT-Ares","nsfw":false,"question":"问 \"?\"","temperature":0.7,"userId":"","promptId":"p\"1","conversationId":"c-1","documentIds":[],"generateImage":false,"generateAudio":false}"#
        );
        assert_eq!(header(&asked, "x-timestamp"), Some("1760581858"));
        assert_eq!(header(&asked, "x-nonce"), Some(moment.nonce.as_str()));
        let signature = Some("c2523ff4f07219c7d06fb4184b8f8619");
        assert_eq!(header(&asked, "x-signature"), signature);
        assert_eq!(header(&asked, "x-aws-waf-token"), Some("w-1"));
        assert_eq!((asked.timeout, asked.once), (Some(stall), true));
        for (given, sent) in [(1.5, "1.5"), (-1.0, "0.0"), (3.0, "2.0")] {
            let body = body(&ask(Some(given)));
            assert!(body.contains(&format!("\"temperature\":{sent},")), "{body}");
        }
    }

    #[test]
    fn ids_are_text_or_numbers() {
        assert_eq!(
            conversation_id(&json!({"id": "c-1"})).as_deref(),
            Some("c-1")
        );
        assert_eq!(conversation_id(&json!({"id": 12})).as_deref(), Some("12"));
        for odd in [
            json!({"id": ""}),
            json!({"id": null}),
            json!({}),
            json!([1]),
        ] {
            assert_eq!(conversation_id(&odd), None, "{odd}");
        }
    }
}
