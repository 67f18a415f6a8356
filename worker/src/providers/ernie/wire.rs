//! What the page sends, as pure functions. Source: `wire/ernie.md` sections 3, 4 and 8.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::account::Account;
use crate::upstream::Request;

/// The service's address, and another name of it.
pub(super) const SITE: &str = "https://ernie.baidu.com";
const OTHER_SITE: &str = "https://yiyan.baidu.com";
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const SHORT_CALL: Duration = Duration::from_secs(15);
/// `deepThoughtStatus`: as the model sees fit, and not at all.
const AUTOMATIC: u8 = 2;
const OFF: u8 = 0;

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `ERNIE_BASE_URL`.
    pub(super) base_url: &'a str,
    /// Whose request was captured.
    pub(super) account: &'a Account,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// The session and the answer in it that it follows; `None` for the first of a new session.
    pub(super) goes_on: Option<(&'a str, &'a str)>,
    /// The whole conversation.
    pub(super) text: &'a str,
    /// The upstream model.
    pub(super) model: &'a str,
    /// The model thinks, and was not told not to.
    pub(super) is_deep: bool,
    /// The request says that there is to be no thinking.
    pub(super) is_thinking_off: bool,
    /// Search first.
    pub(super) search: bool,
}

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With all that today's page sends.
    Full,
    /// With what it sent in 2025, for a service that does not take the full one.
    Short,
}

/// `POST /eb/chat/conversation/v2`: asks in a new session; [`super::stream::Decoder`] reads the answer. `unix_ms` is the
/// time of this very call: one that is minutes off is refused.
pub(super) fn ask(caller: Caller<'_>, question: Question<'_>, form: Form, unix_ms: u64) -> Request {
    let request = post(caller, "chat", "/eb/chat/conversation/v2").header(
        "accept",
        "text/event-stream,application/json, text/event-stream",
    );
    match form {
        Form::Full => request.json(&full(caller.account, question, unix_ms)),
        Form::Short => request.json(&short(caller.account, question, unix_ms)),
    }
}

/// The parent of a session's first question.
const NO_PARENT: &str = "0";

/// `POST /eb/session/delete`.
pub(super) fn delete(caller: Caller<'_>, session_id: &str, unix_ms: u64) -> Request {
    let body = json!({"deviceType": "pc", "sessionId": session_id, "timestamp": unix_ms});
    post(caller, "delete", "/eb/session/delete")
        .header("accept", "application/json")
        .json(&body)
        .timeout(SHORT_CALL)
}

fn full<'a>(
    account: &'a Account,
    question: Question<'a>,
    unix_ms: u64,
) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Full<'a> {
        sign: &'a str,
        timestamp: u64,
        device_type: &'static str,
        is_new_yiyan: bool,
        jt: &'a str,
        text: &'a str,
        // Null for a new one, and not left out: the page sends every member (section 4).
        session_id: Option<&'a str>,
        session_name: &'static str,
        plugin_ids: &'static str,
        r#type: u8,
        model: &'a str,
        deep_thought_status: u8,
        web_search: bool,
        new_app_session_id: &'static str,
        // The one name that the page writes in this way.
        #[serde(rename = "file_ids")]
        file_ids: [(); 0],
        assistant_id: &'static str,
        session_type: u8,
        plugins: [(); 0],
        plugin_info: [(); 0],
        is_slow_thought: bool,
        is_agent_square: bool,
        no_multi_reply: bool,
        share_cont_chat: (),
        parent_chat_id: &'a str,
    }
    let (session_id, parent_chat_id) = question.goes_on.unzip();
    Full {
        sign: account.sign.expose(),
        timestamp: unix_ms,
        device_type: "pc",
        is_new_yiyan: true,
        jt: account.jt.expose(),
        text: question.text,
        session_id,
        session_name: "",
        plugin_ids: "",
        // What the page sends for a chat; nothing else was seen.
        r#type: 10,
        model: question.model,
        deep_thought_status: if question.is_deep { AUTOMATIC } else { OFF },
        web_search: question.search,
        new_app_session_id: "",
        file_ids: [],
        assistant_id: "",
        session_type: 0,
        plugins: [],
        plugin_info: [],
        is_slow_thought: false,
        is_agent_square: false,
        no_multi_reply: false,
        share_cont_chat: (),
        // Section 8: a new session's first question has no parent.
        parent_chat_id: parent_chat_id.unwrap_or(NO_PARENT),
    }
}

fn short<'a>(
    account: &'a Account,
    question: Question<'a>,
    unix_ms: u64,
) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Short<'a> {
        sign: &'a str,
        timestamp: u64,
        device_type: &'static str,
        text: &'a str,
        model: &'a str,
        session_id: &'a str,
        session_name: &'static str,
        parent_chat_id: &'a str,
        is_new_yiyan: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        deep_thought_status: Option<u8>,
    }
    let (session_id, parent_chat_id) = question.goes_on.unwrap_or(("", NO_PARENT));
    Short {
        sign: account.sign.expose(),
        timestamp: unix_ms,
        device_type: "pc",
        text: question.text,
        model: question.model,
        session_id,
        session_name: "",
        parent_chat_id,
        is_new_yiyan: true,
        // Not a member of this form, but the only way to say it.
        deep_thought_status: question.is_thinking_off.then_some(OFF),
    }
}

/// What every call says.
fn post(caller: Caller<'_>, step: &'static str, path: &str) -> Request {
    let Caller { base_url, account } = caller;
    // The same service under its older name: origin and host have to belong together.
    let site = if base_url.starts_with(OTHER_SITE) {
        OTHER_SITE
    } else {
        SITE
    };
    let request = Request::post(step, format!("{base_url}{path}"))
        .header("content-type", "application/json")
        .header("device-type", "pc")
        .header("origin", site)
        .header("referer", format!("{site}/"))
        .header("user-agent", USER_AGENT)
        .header("cookie", account.cookie.expose());
    // Without one the service may answer all the same; an empty one would be a wrong one.
    if account.acs_token.is_empty() {
        request
    } else {
        request.header("acs-token", account.acs_token.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Secret;

    fn account(acs: &str, sign: &str, jt: &str) -> Account {
        Account {
            variable: "BAIDU_ACCOUNT_1_COOKIE".to_owned(),
            cookie: Secret::new("BDUSS_BFESS=b; x=ü"),
            acs_token: Secret::new(acs),
            sign: Secret::new(sign),
            jt: Secret::new(jt),
        }
    }

    fn question(is_thinking_off: bool) -> Question<'static> {
        Question {
            goes_on: None,
            text: "你好 \"?\"",
            model: "EB50",
            is_deep: !is_thinking_off,
            is_thinking_off,
            search: true,
        }
    }

    fn caller<'a>(account: &'a Account, base_url: &'a str) -> Caller<'a> {
        Caller { base_url, account }
    }

    fn header<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
        let mut headers = request.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.as_str() == name)?;
        Some(value.as_bytes())
    }

    fn body(request: &Request) -> String {
        String::from_utf8(request.body.concat()).unwrap()
    }

    #[test]
    fn a_question_is_put_as_todays_page_does() {
        let account = account("acs-1", "sign-1", "31$j");
        let asked = ask(
            caller(&account, "http://a/p"),
            question(false),
            Form::Full,
            1_759_456_789_012,
        );
        assert_eq!(asked.url, "http://a/p/eb/chat/conversation/v2");
        assert_eq!(
            body(&asked),
            r#"{"sign":"sign-1","timestamp":1759456789012,"deviceType":"pc","isNewYiyan":true,"jt":"31$j","text":"你好 \"?\"","sessionId":null,"sessionName":"","pluginIds":"","type":10,"model":"EB50","deepThoughtStatus":2,"webSearch":true,"newAppSessionId":"","file_ids":[],"assistantId":"","sessionType":0,"plugins":[],"pluginInfo":[],"isSlowThought":false,"isAgentSquare":false,"noMultiReply":false,"shareContChat":null,"parentChatId":"0"}"#
        );
        for (name, value) in [
            ("cookie", "BDUSS_BFESS=b; x=ü"),
            ("acs-token", "acs-1"),
            ("content-type", "application/json"),
            (
                "accept",
                "text/event-stream,application/json, text/event-stream",
            ),
            ("device-type", "pc"),
            ("origin", "https://ernie.baidu.com"),
            ("referer", "https://ernie.baidu.com/"),
        ] {
            assert_eq!(header(&asked, name), Some(value.as_bytes()), "{name}");
        }
        let other = ask(caller(&account, OTHER_SITE), question(false), Form::Full, 1);
        assert_eq!(header(&other, "origin"), Some(OTHER_SITE.as_bytes()));
    }

    #[test]
    fn the_short_form_is_that_of_2025() {
        let account = account("", "", "");
        let asked = |is_off| {
            ask(
                caller(&account, "http://a"),
                question(is_off),
                Form::Short,
                7,
            )
        };
        assert_eq!(
            body(&asked(false)),
            r#"{"sign":"","timestamp":7,"deviceType":"pc","text":"你好 \"?\"","model":"EB50","sessionId":"","sessionName":"","parentChatId":"0","isNewYiyan":true}"#
        );
        assert!(body(&asked(true)).ends_with(r#","isNewYiyan":true,"deepThoughtStatus":0}"#));
        assert_eq!(header(&asked(false), "acs-token"), None);
    }

    #[test]
    fn a_session_is_deleted() {
        let account = account("acs-1", "", "");
        let deletion = delete(caller(&account, "http://a"), "6600000001", 9);
        assert_eq!(deletion.url, "http://a/eb/session/delete");
        assert_eq!(
            body(&deletion),
            r#"{"deviceType":"pc","sessionId":"6600000001","timestamp":9}"#
        );
    }
}
