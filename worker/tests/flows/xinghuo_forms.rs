//! Xinghuo's two forms of a question, and a service that changes from one to the other, wire/xinghuo.md sections 1, 2
//! and 4.3. The simulator's own tests cover each form in full.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    desk::{Asked, Desk, Told},
    support::Hive,
};

const CREATE: &str = "/iflygpt/u/chat-list/v1/create-chat-list";
const CHAT: &str = "/iflygpt-chat/u/chat_message/chat";
const BATCH: &str = "/iflygpt/u/chat-list/v1/batch-delete-chat-list";
const DELETE: &str = "/iflygpt/u/chat-list/v1/del-chat-list";
const FINE: &str = "data:ZmluZQ==\n\ndata:<end>\n\ndata:m<sid>\n\n";
/// Sample E of the page.
const MEMORY: &str = include_str!("../fixtures/xinghuo/memory.sse");

fn envelope(code: i64, data: &Value) -> Told {
    Told::json(&json!({"flag": code == 0, "code": code, "desc": "x", "count": null, "data": data}))
}

fn is_classic(asked: &Asked) -> bool {
    asked.body.contains("name=\"GtToken\"")
}

/// A service that knows one of the forms; what it tells those who ask in the other one.
fn service(knows_classic: &Arc<AtomicBool>, refusal: Told) -> Desk {
    let knows_classic = Arc::clone(knows_classic);
    Desk::open(move |asked| {
        let is_classic_service = knows_classic.load(Ordering::Relaxed);
        match asked.path.as_str() {
            CREATE => envelope(0, &json!({"id": 158, "oldBlankList": false})),
            CHAT if is_classic(asked) == is_classic_service => Told::stream(FINE),
            CHAT => refusal.clone(),
            BATCH if is_classic_service => Told::status(404, "no such page"),
            BATCH | DELETE => envelope(0, &Value::Null),
            _ => Told::status(404, ""),
        }
    })
}

fn hive(desk: &Desk, more: &[(&str, &str)]) -> Hive {
    let mut settings = vec![
        ("XINGHUO_BASE_URL", desk.url.as_str()),
        ("XINGHUO_COOKIE", "ssoSessionId=abc"),
    ];
    settings.extend_from_slice(more);
    Hive::start(&[], &settings)
}

/// Waits until a path was asked so often.
async fn asked(desk: &Desk, path: &str, times: usize) -> Vec<Asked> {
    for _ in 0..200 {
        if desk.calls(path).len() >= times {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let calls = desk.calls(path);
    assert_eq!(calls.len(), times, "{path}");
    calls
}

#[actix_web::test]
async fn a_cookie_alone_is_enough_and_asks_in_todays_form() {
    let desk = service(&Arc::default(), Told::status(500, ""));
    let hive = hive(&desk, &[]);
    assert!(hive.get("/ready").await.status == 200);
    assert_eq!(hive.ask("spark", "hello").await.content(), "fine");
    let create = &asked(&desk, CREATE, 1).await[0];
    assert_eq!(create.json(), json!({"showType": "2"}));
    let chat = &asked(&desk, CHAT, 1).await[0];
    assert!(chat.body.contains("name=\"firstChat\"\r\n\r\ntrue\r\n"));
    assert!(!is_classic(chat) && chat.header("botweb").is_empty());
    let deleted = &asked(&desk, BATCH, 1).await[0];
    assert_eq!(deleted.json(), json!({"chatListIds": [158]}));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(desk.calls(DELETE).is_empty());
}

#[actix_web::test]
async fn a_service_that_changes_its_form_is_followed() {
    for refusal in [
        envelope(40000, &Value::Null),
        Told::status(404, "no such page"),
        Told::status(400, "bad"),
    ] {
        let knows_classic = Arc::new(AtomicBool::new(true));
        let desk = service(&knows_classic, refusal.clone());
        let hive = hive(&desk, &[("GT_TOKEN", "R0+/==")]);
        let mut asks = 0;
        for classic in [true, false, true] {
            knows_classic.store(classic, Ordering::Relaxed);
            // The first question after a change tries both forms, the next ones what was answered.
            for more in [usize::from(asks > 0) + 1, 1, 1] {
                let reply = hive.ask("spark", "hello").await;
                assert_eq!(reply.content(), "fine", "{refusal:?}: {}", reply.text);
                asks += more;
                assert_eq!(desk.calls(CHAT).len(), asks, "{refusal:?}");
            }
        }
    }
}

/// Windows too are opened in the form's way, and a refusal there says as much.
#[actix_web::test]
async fn a_window_that_is_not_opened_in_one_form_is_opened_in_the_other() {
    // Another window each time: the same one would be waited for where its deletion is still under way.
    let windows = AtomicU64::new(158);
    let desk = Desk::open(move |asked| match asked.path.as_str() {
        CREATE if asked.json() == json!({}) => {
            let id = windows.fetch_add(1, Ordering::Relaxed);
            envelope(0, &json!({"id": id}))
        }
        CREATE => envelope(40000, &Value::Null),
        CHAT if is_classic(asked) => Told::stream(FINE),
        _ => envelope(0, &Value::Null),
    });
    let hive = hive(&desk, &[]);
    for creates in [2, 3] {
        assert_eq!(hive.ask("spark", "hello").await.content(), "fine");
        asked(&desk, CREATE, creates).await;
    }
}

#[actix_web::test]
async fn a_form_that_is_named_is_the_only_one() {
    for (form, classic) in [("spark", true), ("classic", false)] {
        let knows_classic = Arc::new(AtomicBool::new(classic));
        let desk = service(&knows_classic, envelope(40000, &Value::Null));
        let hive = hive(&desk, &[("XINGHUO_FORM", form)]);
        let error = hive.ask("spark", "hello").await.error();
        assert_eq!(error.2, "upstream_error");
        let calls = asked(&desk, CHAT, 1).await;
        assert_eq!(is_classic(&calls[0]), form == "classic");
    }
}

#[actix_web::test]
async fn a_token_that_is_refused_is_not_needed() {
    let refused = "data:[geeError]\n\ndata:{\"descr\":\"x\"}\n\ndata:<end>\n\n";
    let desk = service(&Arc::default(), Told::stream(refused));
    let with_token = hive(&desk, &[("GT_TOKEN", "stale")]);
    assert_eq!(with_token.ask("spark", "hello").await.content(), "fine");
    assert_eq!(with_token.ask("spark", "hello").await.content(), "fine");
    asked(&desk, CHAT, 3).await;
    // Without one a wanted check is told, and not asked for a second time.
    let desk = Desk::open(move |asked| match asked.path.as_str() {
        CREATE => envelope(0, &json!({"id": 158})),
        CHAT => Told::stream(refused),
        _ => envelope(0, &Value::Null),
    });
    let error = hive(&desk, &[]).ask("spark", "hello").await.error();
    assert_eq!(error.2, "upstream_verification_required");
    asked(&desk, CHAT, 1).await;
}

#[actix_web::test]
async fn a_window_that_cannot_be_deleted_in_a_batch_is_deleted_alone() {
    for refusal in [
        Told::status(404, "no such page"),
        envelope(11111, &Value::Null),
    ] {
        let desk = Desk::open(move |asked| match asked.path.as_str() {
            CREATE => envelope(0, &json!({"id": 158})),
            CHAT => Told::stream(FINE),
            BATCH => refusal.clone(),
            _ => envelope(0, &Value::Null),
        });
        let hive = hive(&desk, &[]);
        assert_eq!(hive.ask("spark", "hello").await.content(), "fine");
        asked(&desk, BATCH, 1).await;
        let deleted = &asked(&desk, DELETE, 1).await[0];
        assert_eq!(deleted.json(), json!({"chatListId": 158}));
    }
}

#[actix_web::test]
async fn what_is_noted_about_the_user_never_reaches_the_user() {
    let desk = Desk::open(|asked| match asked.path.as_str() {
        CREATE => envelope(0, &json!({"id": 158})),
        CHAT => Told::stream(MEMORY),
        _ => envelope(0, &Value::Null),
    });
    let hive = hive(&desk, &[]);
    let whole = hive.ask("spark", "hello").await;
    assert_eq!(
        (whole.content().as_str(), whole.finish().as_str()),
        ("你好，世界！\n\n", "stop")
    );
    let streamed = hive.stream("spark", "hello").await;
    assert_eq!(streamed.streamed("content"), "你好，世界！\n\n");
    assert!(streamed.is_done() && !streamed.text.contains("profile"));
}
