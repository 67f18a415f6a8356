//! What the page sends, as pure functions. Source: `wire/metaso.md` sections 3, 4 and 10.1.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::prompt::Question;
use crate::upstream::Request;

/// A desktop browser (section 4.1).
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const SHORT_CALL: std::time::Duration = std::time::Duration::from_secs(15);
/// A longer request target is sent as a body (section 4.4).
const MOST_TARGET_BYTES: usize = 7000;
/// All but RFC 3986's unreserved: a bare `+` would arrive as a blank (section 9).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const MODEL: &str = "fast_thinking";

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `METASO_BASE_URL`.
    pub(super) base_url: &'a str,
    /// The `Cookie` header.
    pub(super) cookie: &'a str,
}

/// `GET /`: the home page, which holds the meta-token (section 4.2).
pub(super) fn home(caller: Caller<'_>) -> Request {
    browser(
        caller,
        Request::get("home", format!("{}/", caller.base_url)),
    )
    .headers(&[
        ("accept", "text/html"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-user", "?1"),
        ("upgrade-insecure-requests", "1"),
    ])
    .timeout(SHORT_CALL)
}

/// `GET /api/my-info`: whose cookies these are; it also sets one (sections 2 and 10.1).
pub(super) fn my_info(caller: Caller<'_>) -> Request {
    let url = format!("{}/api/my-info", caller.base_url);
    fetch(caller, Request::get("my_info", url), "application/json").timeout(SHORT_CALL)
}

/// `POST /api/search/chat`: a first turn; [`super::stream::Decoder`] reads the answer (section 10.1). `id` is new for every
/// question. Without ids at the top: the service would look for a conversation that does not exist.
pub(super) fn chat(caller: Caller<'_>, question: &Question, id: Uuid, token: &str) -> Request {
    let (mode, engine) = (question.search.mode.of_chat(), question.search.engine);
    // Section 10.1: the page gives every first turn such an id, three times.
    let (id, text) = (format!("temp-{id}"), question.text.as_str());
    let message = json!({
        "id": id, "key": id, "conversationId": id, "role": "user",
        "content": text, "markdownContent": text, "displayContent": text,
        "engineType": engine, "filter": "all", "contentType": 0, "outputHtml": false, "mode": mode,
        "model": MODEL, "outputStyle": "正常",
    });
    let body = json!({
        "model": MODEL, "stream": true, "messages": [message], "mode": mode, "engineType": engine, "filter": "all",
        "outputHtml": false, "outputLanguage": "中文", "darkMode": false, "htmlNoDisplayEnable": true,
        "metaso-pc": "pc", "token": token,
    });
    let url = format!("{}/api/search/chat", caller.base_url);
    fetch(caller, Request::post("chat", url), "text/event-stream")
        .header("content-type", "application/json")
        .header("metaso-pc", "pc")
        .json(&body)
        // The question opens a conversation that nothing deletes: sent twice, it would stand there twice.
        .once()
}

/// `POST /api/session`: the older generation's session; [`session_id`] reads the answer (section 4.3).
pub(super) fn session(caller: Caller<'_>, question: &Question, token: &str) -> Request {
    let body = json!({
        "question": question.text, "mode": question.search.mode.of_searchv2(),
        "engineType": question.search.engine, "scholarSearchDomain": "all",
    });
    let url = format!("{}/api/session", caller.base_url);
    fetch(caller, Request::post("session", url), "application/json")
        .header("token", token)
        .header("is-mini-webview", "0")
        .header("content-type", "application/json")
        .json(&body)
        .timeout(SHORT_CALL)
}

/// The session's id as text: it does not fit a double (section 4.3).
pub(super) fn session_id(answer: &Value) -> Option<String> {
    let data = answer.get("data");
    let places = [
        data.and_then(|data| data.get("id")),
        data.and_then(|data| data.get("sessionId")),
        answer.get("id"),
        answer.get("sessionId"),
    ];
    // In the order of section 4.3.
    places.into_iter().flatten().find_map(|id| match id {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    })
}

/// `GET /api/searchV2`, or `POST` where the target would be too long: asks in a session (section 4.4).
pub(super) fn search(
    caller: Caller<'_>,
    question: &Question,
    session_id: &str,
    token: &str,
) -> Request {
    let mode = question.search.mode.of_searchv2();
    let is_mixed = mode != "fast";
    let page = format!(
        "{}/search/{session_id}?newSearch=true&q={}",
        caller.base_url, question.text
    );
    let mut members = vec![
        ("sessionId", session_id),
        ("question", &question.text),
        ("lang", "zh"),
        ("mode", mode),
        ("url", &page),
        ("enableMix", if is_mixed { "true" } else { "false" }),
        ("scholarSearchDomain", "all"),
        ("expectedCurrentSessionSearchCount", "1"),
        ("is-mini-webview", "0"),
        ("token", token),
    ];
    if !question.search.engine.is_empty() {
        members.push(("engineType", question.search.engine));
    }
    let path = "/api/searchV2";
    let pair =
        |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, VALUE));
    // Each byte of a question becomes up to three, twice: what is far too long need not be spelled out.
    if question.text.len() <= MOST_TARGET_BYTES {
        let query: Vec<String> = members.iter().map(pair).collect();
        let target = format!("{path}?{}", query.join("&"));
        if target.len() <= MOST_TARGET_BYTES {
            let request = Request::get("search", format!("{}{target}", caller.base_url));
            return fetch(caller, request, "text/event-stream").once();
        }
    }
    // Texts from the list, and then what the POST form has as other types (section 4.4).
    let mut body: Value = members.into_iter().collect();
    body["enableMix"] = json!(is_mixed);
    body["newEngine"] = json!(true);
    body["metaso-pc"] = json!("pc");
    body["model"] = json!(MODEL);
    body["deepResearchModel"] = json!("fast");
    let request = Request::post("search", format!("{}{path}", caller.base_url));
    fetch(caller, request, "text/event-stream")
        .header("content-type", "application/json")
        .header("token", token)
        .json(&body)
        .once()
}

/// A call that the page's script makes.
fn fetch(caller: Caller<'_>, request: Request, accept: &str) -> Request {
    browser(caller, request).headers(&[
        ("accept", accept),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
    ])
}

/// What a desktop browser says with every call (section 4.1).
fn browser(caller: Caller<'_>, request: Request) -> Request {
    request
        .header("accept-language", "zh-CN,zh;q=0.9")
        .header("origin", caller.base_url)
        .header("referer", format!("{}/", caller.base_url))
        .headers(&[
            ("user-agent", USER_AGENT),
            (
                "sec-ch-ua",
                r#""Not(A:Brand";v="8", "Chromium";v="144", "Google Chrome";v="144""#,
            ),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", r#""Windows""#),
        ])
        .header("cookie", caller.cookie)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::metaso::models::{Mode, Search};

    const CALLER: Caller<'_> = Caller {
        base_url: "https://metaso.cn",
        cookie: "uid=u; sid=s",
    };
    /// Of section 5.1.
    const TOKEN: &str = "wr8+pHu3/fH==";

    fn question(text: &str, mode: Mode, engine: &'static str) -> Question {
        Question {
            text: text.to_owned(),
            search: Search { mode, engine },
        }
    }

    fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
        let mut headers = request.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.as_str() == name)?;
        value.to_str().ok()
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body.concat()).unwrap()
    }

    #[test]
    fn a_chat_is_asked_as_section_10_1_says() {
        let id = Uuid::nil();
        let asked = chat(CALLER, &question("问", Mode::Fast, "scholar"), id, TOKEN);
        assert_eq!(asked.url, "https://metaso.cn/api/search/chat");
        let t = "temp-00000000-0000-0000-0000-000000000000";
        assert_eq!(
            body(&asked),
            json!({"model":"fast_thinking","stream":true,"messages":[{"id":t,"key":t,"conversationId":t,"role":"user","content":"问","markdownContent":"问","displayContent":"问","engineType":"scholar","filter":"all","contentType":0,"outputHtml":false,"mode":"concise","model":"fast_thinking","outputStyle":"正常"}],"mode":"concise","engineType":"scholar","filter":"all","outputHtml":false,"outputLanguage":"中文","darkMode":false,"htmlNoDisplayEnable":true,"metaso-pc":"pc","token":TOKEN})
        );
        assert_eq!(header(&asked, "metaso-pc"), Some("pc"));
        assert_eq!(header(&asked, "cookie"), Some("uid=u; sid=s"));
        assert_eq!(header(&asked, "accept"), Some("text/event-stream"));
        assert_eq!((header(&asked, "token"), asked.once), (None, true));
    }

    #[test]
    fn a_session_is_opened_and_asked_in() {
        let question = question("问 +", Mode::StrongResearch, "");
        let opened = session(CALLER, &question, TOKEN);
        assert_eq!(
            body(&opened),
            json!({"question":"问 +","mode":"research","engineType":"","scholarSearchDomain":"all"})
        );
        assert_eq!(header(&opened, "token"), Some(TOKEN));
        assert_eq!(header(&opened, "is-mini-webview"), Some("0"));
        let asked = search(CALLER, &question, "8466827997659213824", TOKEN);
        assert_eq!(
            asked.url,
            "https://metaso.cn/api/searchV2?sessionId=8466827997659213824&question=%E9%97%AE%20%2B&lang=zh&mode=research&url=https%3A%2F%2Fmetaso.cn%2Fsearch%2F8466827997659213824%3FnewSearch%3Dtrue%26q%3D%E9%97%AE%20%2B&enableMix=true&scholarSearchDomain=all&expectedCurrentSessionSearchCount=1&is-mini-webview=0&token=wr8%2BpHu3%2FfH%3D%3D"
        );
        assert!(header(&asked, "token").is_none() && asked.body.is_empty());
    }

    #[test]
    fn what_is_too_long_for_a_target_is_a_body() {
        for length in [400, 100_000] {
            let question = question(&"问".repeat(length), Mode::Fast, "scholar");
            let asked = search(CALLER, &question, "1", TOKEN);
            assert_eq!(asked.url, "https://metaso.cn/api/searchV2");
            let body = body(&asked);
            assert_eq!(body["question"], question.text);
            assert_eq!(
                (&body["enableMix"], &body["engineType"], &body["mode"]),
                (&json!(false), &json!("scholar"), &json!("fast"))
            );
            assert_eq!(
                (&body["newEngine"], &body["sessionId"]),
                (&json!(true), &json!("1"))
            );
            assert_eq!(header(&asked, "token"), Some(TOKEN));
        }
        let question = question(&"问".repeat(300), Mode::Fast, "");
        assert!(search(CALLER, &question, "1", TOKEN).body.is_empty());
    }

    #[test]
    fn ids_are_text() {
        let id = |answer: &str| session_id(&serde_json::from_str(answer).unwrap());
        let long = "8466827997659213824";
        for answer in [
            r#"{"errCode":0,"data":{"id":"8466827997659213824"}}"#,
            r#"{"data":{"id":8466827997659213824}}"#,
            r#"{"data":{"sessionId":8466827997659213824}}"#,
            r#"{"id":"8466827997659213824","data":null}"#,
            r#"{"sessionId":8466827997659213824}"#,
        ] {
            assert_eq!(id(answer).as_deref(), Some(long), "{answer}");
        }
        assert_eq!(id(r#"{"data":{"id":""}}"#), None);
    }

    #[test]
    fn the_home_page_is_visited_as_a_page() {
        let home = home(CALLER);
        assert_eq!(home.url, "https://metaso.cn/");
        for (name, value) in [
            ("accept", "text/html"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("upgrade-insecure-requests", "1"),
            ("origin", "https://metaso.cn"),
            ("referer", "https://metaso.cn/"),
        ] {
            assert_eq!(header(&home, name), Some(value));
        }
        assert_eq!(header(&my_info(CALLER), "sec-fetch-dest"), Some("empty"));
    }
}
