//! The generation of www.qianwen.com (wire/qwen.md §11), with a signer of the test's own.

use std::cell::{Cell, RefCell};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Answer, CHROME, Request, Running, Script, Value, json, setting, start, uuid};

const DEVICE: &str = "11111111-2222-4333-8444-555555555555";
const SENTENCE: &str = "很抱歉，当前请求暂时无法处理，请稍后再试。";
const REGISTER: &str = "/security/external/access/register";
const REFRESH: &str = "/security/external/access/refresh";
const CHAT: &str = "/api/v2/chat";

fn hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn hmac(secret: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A browser with one account of a simulator that speaks chat2 alone.
struct Page {
    qwen: Running,
    account: usize,
    material: RefCell<Value>,
    used: Cell<usize>,
}

impl Page {
    fn open(account: usize) -> Self {
        let qwen = start("qwen");
        qwen.control().set_generation("chat2").unwrap();
        let page = Self {
            qwen,
            account,
            material: RefCell::new(Value::Null),
            used: Cell::new(0),
        };
        page.register();
        page
    }

    fn register(&self) {
        let answer = self.registration().ask(&self.qwen).value();
        *self.material.borrow_mut() = answer["data"].clone();
        self.used.set(0);
    }

    fn cookie(&self) -> String {
        setting(&self.qwen, &format!("CN_ACCOUNT_{}_COOKIE", self.account))
    }

    fn secured(&self, method: &'static str, path: &str) -> Request {
        Request::new(method, path)
            .header("Cookie", self.cookie())
            .header("Origin", "https://www.qianwen.com")
            .header("Referer", "https://www.qianwen.com/chat")
            .header("User-Agent", CHROME)
            .header("clt-acs-caer", "vrad")
            .header("eo-clt-sftcnt", "3")
            .header("eo-clt-acs-bx-intss", "2")
    }

    fn registration(&self) -> Request {
        let chid = hex();
        let body = json!({
            "screenResolution": "1920x1080", "cookieEnabled": true, "localStorageEnabled": true,
            "timezoneOffset": "Asia/Shanghai", "fontList": ["Arial"], "pluginList": [], "language": ["zh-CN"],
            "unifyRelateGenerate": ["qwen_chat", "voice_command", "workspace_api"], "fingerprint": hex(),
            "businessScene": "qwen_web", "chid": chid,
        });
        self.secured("POST", &format!("{REGISTER}?chid={chid}"))
            .json(&body)
    }

    /// Signs as §11.5 says, with the next salt of the scene.
    fn sign(&self, mut request: Request, scene: &str) -> Request {
        let material = self.material.borrow();
        let entries = material["unifyRelate"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["businessScene"] == scene)
            .unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let salt = text(&entry["eo-clt-bacsft"][self.used.get()]);
        self.used.set(self.used.get() + 1);
        let device = text(&material["eo-clt-dvidn"]);
        let reqt = "1790000000123";
        let (_, query) = request.path.split_once('?').unwrap();
        let pairs: Vec<_> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let values: String = pairs
            .iter()
            .map(|(_, value)| value.replace("%2F", "/"))
            .collect();
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        let names = names.join(",");
        let secret = format!("{salt}:{reqt}");
        let bfg = hmac(&secret, &request.body);
        let cookie = self.cookie();
        let kp = cookie
            .split("; ")
            .find_map(|pair| pair.strip_prefix("tongyi_sso_ticket_hash="))
            .unwrap_or_default();
        let signed = format!("{device}1.0.0{values}{kp}{bfg}");
        let sign = hmac(&secret, signed.as_bytes());
        if !kp.is_empty() {
            request = request.header("eo-clt-acs-kp", kp);
        }
        request
            .header("clt-acs-sign", sign)
            .header("clt-acs-bfg", bfg)
            .header("clt-acs-reqt", reqt)
            .header("clt-acs-request-params", names)
            .header("clt-acs-caer", "vrad")
            .header("eo-clt-dvidn", device)
            .header("eo-clt-snver", "lv")
            .header("eo-clt-actkn", text(&entry["eo-clt-actkn"]))
            .header("eo-clt-sacsft", salt)
            .header("eo-clt-acs-ve", "1.0.0")
    }

    /// What a question needs besides its signature.
    fn unsigned(&self, body: &Value) -> Request {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let biz = json!({"chatId": text("req_id"), "agentId": "", "enableWebp": ""});
        let referer = format!("https://www.qianwen.com/chat/{}", text("session_id"));
        self.call("POST", &signed_path(CHAT))
            .header(
                "Accept",
                "application/json, text/event-stream, text/plain, */*",
            )
            .header("Referer", referer)
            .header("prod_id", "tongyi")
            .header("x-platform", "pc_tongyi")
            .header("x-device-id", DEVICE)
            .header("x-chat-id", text("req_id"))
            .header("x-chat-biz", biz.to_string())
            .json(body)
    }

    fn asking(&self, body: &Value) -> Request {
        self.sign(self.unsigned(body), "qwen_chat")
    }

    /// Asks with material of its own.
    fn ask(&self, text: &str) -> Answer {
        self.register();
        self.asking(&question(text)).ask(&self.qwen)
    }

    fn call(&self, method: &'static str, path: &str) -> Request {
        let token = format!("CN_ACCOUNT_{}_XSRF_TOKEN", self.account);
        Request::new(method, path)
            .header("Cookie", self.cookie())
            .header("X-Xsrf-Token", setting(&self.qwen, &token))
            .header("Origin", "https://www.qianwen.com")
            .header("Referer", "https://www.qianwen.com/")
            .header("User-Agent", CHROME)
    }

    fn plain(&self, method: &'static str, path: &str, more: &str) -> Request {
        let query = "biz_id=ai_qwen&chat_client=h5&device=pc&fr=pc&pr=qwen&ut=";
        let rest = "&la=zh-CN&tz=Asia%2FShanghai&wv=4.9.0&ve=4.9.0";
        self.call(method, &format!("{path}?{query}{DEVICE}{rest}{more}"))
    }

    fn delete(&self, id: &str) -> Value {
        let body = json!({"session_id": id, "biz_id": "ai_qwen"});
        let request = self.plain("POST", "/api/v1/session/delete", "");
        request.json(&body).ask(&self.qwen).value()
    }

    fn violation(&self) -> Option<String> {
        self.qwen.control().log().pop().unwrap().violation
    }

    fn no_violations(&self) {
        let violations = self.qwen.control().state().violations;
        assert!(violations.is_empty(), "{violations:?}");
    }
}

fn signed_path(path: &str) -> String {
    format!(
        "{path}?biz_id=ai_qwen&fe_version=1.0.0&chat_client=h5&device=pc&fr=pc&pr=qwen&ut={DEVICE}&la=zh-CN\
         &tz=Asia%2FShanghai&wv=4.9.0&ve=4.9.0&nonce=a1b2c3d4e5f&timestamp=1790000000123"
    )
}

fn question(text: &str) -> Value {
    json!({
        "req_id": hex(), "parent_req_id": "0",
        "messages": [{"mime_type": "text/plain", "content": text, "meta_data": {"ori_query": text}, "status": "complete"}],
        "scene": "chat", "sub_scene": "", "scene_param": "first_turn", "session_id": hex(), "biz_id": "ai_qwen",
        "topic_id": hex(), "model": "Qwen", "from": "default", "protocol_version": "v2", "messages_merge": false,
        "chat_client": "h5", "deep_search": null, "temporary": false, "params_extra": {"supports_cowork": "true"},
        "chat_mode": "quick", "bucket": {},
    })
}

/// The last whole text of an answer.
fn said(answer: &Answer) -> String {
    let events = answer.events();
    let frames = events.iter().filter(|data| data.starts_with('{'));
    let mut last = String::new();
    for frame in frames {
        let frame: Value = serde_json::from_str(frame).unwrap();
        for item in frame["data"]["messages"].as_array().unwrap() {
            if item["mime_type"] == "multi_load/iframe" {
                item["content"].as_str().unwrap().clone_into(&mut last);
            }
        }
    }
    last
}

#[test]
fn registers_asks_goes_on_and_deletes() {
    for account in 1..=3 {
        let page = Page::open(account);
        let mut body = question("echo:晴，26℃👋");
        let answer = page.asking(&body).ask(&page.qwen);
        assert_eq!(
            answer.headers["content-type"],
            "text/event-stream;charset=UTF-8"
        );
        assert_eq!(said(&answer), "晴，26℃👋");
        let text = answer.text();
        assert!(text.starts_with("event:message\ndata:{\"communication\":{\"sessionid\":\""));
        assert!(text.ends_with("event:complete\ndata:true\n\n"));
        body["parent_req_id"] = body["req_id"].clone();
        body["req_id"] = json!(hex());
        body["scene_param"] = json!("continue_chat");
        let second = page.asking(&body).ask(&page.qwen);
        assert!(second.text().contains("sse_end"));
        let id = body["session_id"].as_str().unwrap();
        let more = format!("&session_id={id}");
        let history = page.plain("GET", "/api/v1/session/msg/list", &more);
        let history = history.ask(&page.qwen).value();
        assert_eq!(history["data"]["list"][1]["req_id"], body["req_id"]);
        let list = page.plain("POST", "/api/v2/session/page/list", "");
        let list = list
            .json(&json!({"next_token": ""}))
            .ask(&page.qwen)
            .value();
        assert_eq!(list["data"]["list"][0]["session_id"], id);
        assert_eq!(page.delete(id)["code"], 0);
        page.no_violations();
        assert_eq!(page.delete(id)["success"], false);
        assert_eq!(page.qwen.control().state().conversations, 0);
    }
}

#[test]
fn a_wrong_signature_is_answered_by_one_sentence() {
    let page = Page::open(1);
    let wrong = |what: &str, change: &dyn Fn(Request) -> Request| {
        page.register();
        let answer = change(page.asking(&question("echo:right"))).ask(&page.qwen);
        assert_eq!((answer.status, said(&answer).as_str()), (200, SENTENCE));
        let violation = page.violation().unwrap();
        assert!(violation.contains(what), "{violation}");
    };
    for (name, value, what) in [
        ("clt-acs-sign", "AAAA", "clt-acs-sign"),
        ("clt-acs-bfg", "AAAA", "clt-acs-bfg"),
        ("clt-acs-reqt", "1790000000124", "clt-acs-bfg"),
        ("clt-acs-request-params", "ut,biz_id", "request-params"),
        ("eo-clt-actkn", "simactkn", "scene"),
        ("eo-clt-sacsft", "c2FsdC1vbmU", "not given"),
        ("eo-clt-dvidn", "simdvidn0001", "registered"),
        ("eo-clt-acs-kp", "tytk_hash:00", "eo-clt-acs-kp"),
    ] {
        wrong(what, &|request| request.header(name, value));
    }
    wrong("clt-acs-sign", &|request| request.without("clt-acs-sign"));
    // The exact bytes, and the query as sent.
    wrong("bfg", &|mut request| {
        request.body.push(b' ');
        request
    });
    wrong("clt-acs-sign", &|mut request| {
        let other = "wv=4.9.1&ve=4.9.1";
        request.path = request.path.replace("wv=4.9.0&ve=4.9.0", other);
        request
    });
    // A salt is good once, and of its scene.
    assert_eq!(said(&page.ask("echo:right")), "right");
    page.used.set(0);
    let again = page.asking(&question("echo:right")).ask(&page.qwen);
    assert_eq!(said(&again), SENTENCE);
    assert!(page.violation().unwrap().contains("used before"));
    let other = page.sign(page.unsigned(&question("echo:right")), "voice_command");
    assert_eq!(said(&other.ask(&page.qwen)), SENTENCE);
    assert!(page.violation().unwrap().contains("another scene"));
    page.qwen.control().fault("refusal_sentence", 1).unwrap();
    assert_eq!(said(&page.ask("echo:right")), SENTENCE);
    assert_eq!(page.violation(), None);
}

/// `status` not 0, and a violation that says why.
fn refused(page: &Page, request: &Request, what: &str) {
    assert_eq!(request.ask(&page.qwen).value()["status"], 1);
    let violation = page.violation().unwrap();
    assert!(violation.contains(what), "{violation}");
}

#[test]
fn salts_are_registered_and_refreshed() {
    let page = Page::open(1);
    let device = page.material.borrow()["eo-clt-dvidn"].clone();
    let refresh = |token: &Value| {
        let query = "businessScene=qwen_web&unifyRelateGenerate=voice_command,qwen_chat";
        page.secured("GET", &format!("{REFRESH}?{query}&chid={}", hex()))
            .header("eo-clt-dvidn", device.as_str().unwrap())
            .header("eo-clt-actkn", token.as_str().unwrap())
    };
    let base = page.material.borrow()["eo-clt-actkn"].clone();
    let chat = page.material.borrow()["unifyRelate"][0].clone();
    assert_eq!(chat["businessScene"], "qwen_chat");
    let salts = chat["eo-clt-bacsft"].as_array().unwrap().len();
    assert_eq!(salts, 3, "as many as asked for");
    let more = refresh(&base).ask(&page.qwen).value();
    assert_eq!(
        (&more["status"], &more["code"]),
        (&json!(0), &json!("SUCCESS"))
    );
    // What was given before is still good.
    let asked = |text: &str| page.asking(&question(text)).ask(&page.qwen);
    assert_eq!(said(&asked("echo:a")), "a");
    *page.material.borrow_mut() = more["data"].clone();
    page.used.set(0);
    assert_eq!(said(&asked("echo:b")), "b");
    page.no_violations();
    refused(&page, &refresh(&chat["eo-clt-actkn"]), "base token");
    let without = |name: &str| page.registration().without(name);
    refused(&page, &without("clt-acs-caer"), "clt-acs-caer");
    refused(&page, &without("eo-clt-sftcnt"), "how many salts");
    let bare = page
        .registration()
        .json(&json!({"businessScene": "qwen_web"}));
    refused(&page, &bare, "missing");
    let under = |fault: &str| {
        page.qwen.control().fault(fault, 1).unwrap();
        page.registration().ask(&page.qwen).value()
    };
    assert_eq!(under("register_refused")["status"], 1);
    let none = under("no_salts");
    assert_eq!(none["data"]["unifyRelate"][0]["eo-clt-bacsft"], json!([]));
    let few = under("few_salts");
    assert_eq!(few["data"]["eo-clt-bacsft"].as_array().unwrap().len(), 20);
    let clock = Request::new("GET", "/api/calibration/getMillisTimeStamp?t=1");
    let clock = clock.ask(&page.qwen).value();
    let now = clock["data"]["millisTimeStamp"].as_str().unwrap();
    assert_eq!(now.len(), 13);
}

#[test]
fn what_is_mandatory_is_missed() {
    let page = Page::open(1);
    let without = |name: &str| {
        page.register();
        let request = page.asking(&question("hi")).without(name);
        request.ask(&page.qwen)
    };
    for name in ["Origin", "Referer", "User-Agent"] {
        assert!(without(name).text().contains("RGV587_ERROR::SM"), "{name}");
    }
    let empty = without("Accept");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let nothing = without("x-platform");
    let kind = &nothing.headers["content-type"];
    assert_eq!(kind, "text/event-stream;charset=UTF-8");
    assert!(nothing.body.is_empty());
    assert_eq!(without("Cookie").value()["code"], "AUTH_FAILED");
    page.register();
    let mut no_device = page.unsigned(&question("hi"));
    no_device.path = no_device.path.replace(DEVICE, "");
    let no_device = page.sign(no_device, "qwen_chat").ask(&page.qwen);
    assert!(no_device.body.is_empty());
    let mut no_device = page.plain("GET", "/api/v1/model/list", "");
    no_device.path = no_device.path.replace(&format!("&ut={DEVICE}"), "");
    let answer = no_device.ask(&page.qwen);
    assert_eq!((answer.status, &answer.value()["msg"]), (400, &json!("ut")));
    let models = page.plain("GET", "/api/v1/model/list", "");
    let list = models.ask(&page.qwen).value();
    assert_eq!(list["data"]["list"][1]["model"], "Qwen3.8-Max");
    assert_eq!(
        models.header("X-Xsrf-Token", "x").ask(&page.qwen).status,
        403
    );
    page.register();
    let hash = "tongyi_sso_ticket_hash=tytk_hash:0123456789abcdef0123456789abcdef";
    let alone = page.asking(&question("hi")).header("Cookie", hash);
    let alone = alone.ask(&page.qwen).text();
    assert_eq!(alone, r#"{"code":"EX015","msg":"签名错误"}"#);
    // Forgiven, but noted.
    for (name, value) in [
        ("x-chat-id", "x"),
        ("x-chat-biz", "{}"),
        ("prod_id", "x"),
        ("x-device-id", "x"),
        ("bx-ua", "231!"),
        ("Referer", "https://www.qianwen.com/"),
    ] {
        page.register();
        let request = page.asking(&question("echo:a")).header(name, value);
        assert_eq!(said(&request.ask(&page.qwen)), "a");
        let violation = page.violation().unwrap();
        assert!(violation.contains(&name.to_lowercase()), "{violation}");
    }
}

#[test]
fn refuses_wrong_bodies() {
    let page = Page::open(1);
    for (name, value) in [
        ("req_id", json!("1")),
        ("session_id", json!("")),
        ("topic_id", json!(null)),
        ("scene", json!("x")),
        ("scene_param", json!("continue_chat")),
        ("messages", json!([])),
        ("deep_search", json!(true)),
        ("temporary", json!(true)),
        ("model", json!("")),
    ] {
        page.register();
        let mut body = question("hi");
        body[name] = value;
        let answer = page.asking(&body).ask(&page.qwen);
        assert_eq!((answer.status, &answer.value()["msg"]), (400, &json!(name)));
    }
    page.register();
    let mut body = question("echo:a");
    page.asking(&body).ask(&page.qwen);
    let again = page.asking(&body).ask(&page.qwen);
    assert_eq!(again.value()["msg"], "req_id", "fresh for every attempt");
    body["req_id"] = json!(hex());
    let answer = page.asking(&body).ask(&page.qwen).value();
    assert_eq!(answer["msg"], "parent_req_id", "the previous request's");
    // The id of a session that never came to be may be deleted: it was the client's.
    page.qwen.control().fault("rate_limited", 1).unwrap();
    page.register();
    let body = question("hi");
    assert_eq!(page.asking(&body).ask(&page.qwen).status, 429);
    let deleted = page.delete(body["session_id"].as_str().unwrap());
    assert_eq!((&deleted["code"], page.violation()), (&json!(0), None));
}

#[test]
fn samples_d_and_e_come_out_of_the_generator() {
    let page = Page::open(1);
    let ask = |reasoning: &str, pieces: &[&str], quirks: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let script = Script {
            reasoning: Some(reasoning.to_owned()),
            piece_chars: Some(2),
            pieces: Some(own(pieces)),
            quirks: own(quirks),
            ..Script::default()
        };
        page.qwen.control().script(script).unwrap();
        page.ask("cite:1 天气").text()
    };
    let text = ask("先查一查想好了", &["晴，2", "6℃👋"], &["clean", "plan"]);
    for line in [
        r#""data":{"messages":[{"mime_type":"plan_cot/post","content":"先查","status":"processing"}]},"error_code":0"#,
        r#""messages":[{"mime_type":"plan_cot/post","content":"先查\n先查一查","status":"processing"}]"#,
        r#"{"mime_type":"bar/iframe","meta_data":{"sources":[{"content":{"list":[{"host_name":"h","#,
        r#""content":"[(deep_think)]","meta_data":{"multi_load":[{"content":{"status":"processing","think_content":"想好了"},"type":"deep_think"}]}"#,
        r#""content":"[(deep_think)]\n\n晴，2","meta_data":{"multi_load":[{"content":{"status":"complete","#,
        r#""content":"[(deep_think)]\n\n晴，26℃👋","meta_data":{"multi_load":[]},"status":"complete"}],"status":"complete","extra_info":{"sse_end":"1","#,
        "event:complete\ndata:true\n\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let text = ask("一二", &["好"], &["clean", "panel", "end_inside"]);
    for line in [
        r#""mime_type":"bar/workflow","meta_data":{"deep_think_generate":"1","multi_load":[{"content":{"body":"no thought","#,
        r#"{"content":{"body":"一二","status":"processing","title":"理解"},"source_seq":"1","type":"bar_thinking"}"#,
        r#"{"mime_type":"multi_load/iframe","content":"","meta_data":{"multi_load":[{"content":"好","type":"card"}]}"#,
        r#""sse_end":true"#,
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let stale = ask("", &["a", "b", "c"], &["stale"]);
    assert!(stale.contains(r#""resid":1},"data":{"messages":[{"mime_type":"multi_load"#));
    let plain = ask("", &["a"], &["text_plain"]);
    assert!(plain.contains(r#"{"mime_type":"text/plain","content":"a""#));
    assert!(ask("", &["a"], &["progress_sources"]).contains(r#""type":"source"}"#));
    assert!(ask("x", &["a"], &["multimodal"]).contains("[(multimodal_chat_think_1)]"));
    assert!(ask("", &["a"], &["done"]).ends_with("data:[DONE]\n\n"));
    assert!(!ask("", &["a"], &["no_end"]).contains("sse_end"));
    let half = ask("", &["晴", "好", "吗"], &[]);
    assert!(half.contains('\u{fffd}'), "a half character: {half}");
}

#[test]
fn faults_look_as_the_page_has_them() {
    let page = Page::open(1);
    let under = |fault: &str| {
        page.register();
        page.qwen.control().fault(fault, 1).unwrap();
        let answer = page.asking(&question("count:9")).ask(&page.qwen);
        assert_eq!(page.violation(), None, "{fault}");
        answer
    };
    for (fault, status, what) in [
        ("not_login", 200, "AUTH_FAILED"),
        ("login_ticket_invalid", 401, "AUTH_FAILED"),
        ("ex015", 200, "EX015"),
        ("captcha", 200, "FAIL_SYS_USER_VALIDATE"),
        ("captcha_page", 200, "rgv587_flag"),
        ("too_many_requests", 200, "频繁"),
        (
            "system_busy",
            200,
            r#""error_code":50002,"error_msg":"系统繁忙"#,
        ),
        ("unknown_error_code", 200, "99999"),
        ("param_error", 400, "messages"),
        ("rate_limited", 429, "频繁"),
        (
            "moderated_before_text",
            200,
            r#""audit_info":{"error_code":"10030""#,
        ),
        ("system_busy_text", 200, "抱歉，系统超时，请稍后重试"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(what), "{fault}: {}", answer.text());
        assert!(!answer.text().contains("1 2"), "{fault}: {}", answer.text());
    }
    let filtered = under("moderated_after_text");
    assert!(filtered.text().contains("audit_info"));
    assert_eq!(said(&filtered), "1 2");
    assert!(under("no_content").body.is_empty());
    assert!(said(&under("empty")).is_empty());
}

#[test]
fn takes_pictures() {
    let page = Page::open(1);
    let bytes = b"picture bytes";
    let md5 = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(bytes));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let call = |path: &str, body: &Value| {
        let request = page.call("POST", path).json(body);
        let answer = page.sign(request, "workspace_api").ask(&page.qwen);
        answer.value()["data"].clone()
    };
    let wanted = json!({
        "file_name": "cat.png", "content_type": "application/octet-stream", "content_md5": md5, "size": bytes.len(),
    });
    let token = call(&signed_path("/1/oss_token"), &wanted);
    let put = |object: &str, bytes: &[u8]| {
        let path = format!("/{object}?req_id={}&biz_id=ai_qwen", uuid());
        let class = text(&token["oss_headers"][0]["value"]);
        let mut request = Request::new("PUT", &path)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Md5", &*md5)
            .header("x-oss-storage-class", class)
            .header("authorization", text(&token["authorization"]));
        request.body = bytes.to_vec();
        request
    };
    let object = text(&token["object"]);
    assert_eq!(put(&object, b"other bytes..").ask(&page.qwen).status, 403);
    let bare = put(&object, bytes).without("authorization");
    assert_eq!(bare.ask(&page.qwen).status, 403);
    assert_eq!(put(&object, bytes).ask(&page.qwen).status, 200);
    let segment = object.replace('/', "%2F");
    assert_eq!(put(&segment, bytes).ask(&page.qwen).status, 200);
    assert_eq!(page.violation(), None);
    let callback = json!({
        "file_md5": md5, "file_name": "cat.png", "file_type": "PNG", "bucket": token["bucket"], "endpoint": token["endpoint"],
        "object": object, "entry": "qwen_pc",
    });
    let path = format!("{}&req_id={}", signed_path("/1/oss/callback"), uuid());
    let stored = call(&path, &callback);
    assert_eq!(page.violation(), None);
    let url = text(&stored["material_cdn_url"]);
    let mut body = question("echo:seen");
    let item = body["messages"][0].clone();
    let picture = |id: &Value| {
        json!({
            "mime_type": "image/url", "content": url, "status": "complete",
            "meta_data": {"resource_infos": [{
                "id": id, "url": url, "width": 640, "height": 480, "file_format": "png", "file_name": "cat.png",
                "file_size": bytes.len(),
            }]},
        })
    };
    page.register();
    body["messages"] = json!([picture(&json!("other")), item]);
    let refused = page.asking(&body).ask(&page.qwen);
    assert_eq!(refused.value()["msg"], "resource_infos");
    body["messages"] = json!([picture(&stored["ws_gid"]), item]);
    body["req_id"] = json!(hex());
    assert_eq!(said(&page.asking(&body).ask(&page.qwen)), "seen");
    assert_eq!(page.violation(), None);
    // Signed with a salt of another scene.
    let request = page
        .call("POST", &signed_path("/1/oss_token"))
        .json(&wanted);
    let signed = page.sign(request, "qwen_chat").ask(&page.qwen);
    assert_eq!(signed.value()["code"], "EX015");
}

#[test]
fn each_generation_alone_hides_the_other() {
    let page = Page::open(1);
    let control = page.qwen.control();
    let older = |text: &str| super::asking(&page.qwen, &super::question(text)).ask(&page.qwen);
    assert_eq!(older("echo:a").status, 404);
    control.set_generation("dialog").unwrap();
    assert_eq!(page.registration().ask(&page.qwen).status, 404);
    let hidden = page.asking(&question("echo:a")).ask(&page.qwen);
    assert_eq!(hidden.status, 404);
    assert!(older("echo:a").text().contains("finished"));
    control.set_generation("both").unwrap();
    assert!(older("echo:a").text().contains("finished"));
    let asked = page.asking(&question("echo:a")).ask(&page.qwen);
    assert_eq!(said(&asked), "a");
    page.no_violations();
}
