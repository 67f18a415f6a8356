//! The form of spark.xfyun.cn, and the switch between it and the classic one (wire/xinghuo.md §1, §4.1 to §4.3, §6.3, §8).

use super::*;

const BATCH_DELETE: &str = "/iflygpt/u/chat-list/v1/batch-delete-chat-list";
const FAST: &str = r#"{"chatOption":{"thinkPattern":"fast_think","routeVersion":"legacy"}}"#;
const AUTO: &str = r#"{"chatOption":{"thinkPattern":"auto","routeVersion":"legacy"}}"#;

fn spark() -> Running {
    let xinghuo = start("xinghuo");
    xinghuo.control().set_generation("spark").unwrap();
    xinghuo
}

fn modern(running: &Running, account: usize, path: &str) -> Request {
    call(running, account, "POST", path)
        .header("Origin", "https://spark.xfyun.cn")
        .header("Referer", "https://spark.xfyun.cn/desk")
}

fn open(running: &Running) -> Value {
    let open = modern(running, 1, CREATE).json(&json!({"showType": "2"}));
    open.ask(running).value()["data"]["id"].clone()
}

/// The form of today with some fields changed; "" leaves a field out.
fn question(running: &Running, changed: &[(&str, &str)]) -> Request {
    let mut fields = vec![
        ("fd", "401123"),
        ("isBot", "0"),
        ("clientType", "1"),
        ("text", "hi"),
        ("chatId", "1"),
        ("options", FAST),
        ("firstChat", "true"),
    ];
    for (name, value) in changed {
        match fields.iter().position(|(field, _)| field == name) {
            Some(at) if value.is_empty() => drop(fields.remove(at)),
            Some(at) => fields[at].1 = value,
            None if *name == "capabilities" => fields.insert(4, (name, value)),
            None => fields.push((name, value)),
        }
    }
    modern(running, 1, CHAT)
        .header("Accept", "text/event-stream")
        .form(&fields)
}

fn no_violations(running: &Running) {
    let violations = running.control().state().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn opens_asks_goes_on_and_deletes() {
    let xinghuo = spark();
    assert_eq!(setting(&xinghuo, "GT_TOKEN"), "");
    let id = open(&xinghuo);
    let window = id.to_string();
    let answer = question(&xinghuo, &[("chatId", &window)]).ask(&xinghuo);
    let sid = answer.events().pop().unwrap().replace("<sid>", "");
    let on = [
        ("chatId", window.as_str()),
        ("firstChat", ""),
        ("sid", &sid),
        ("options", AUTO),
    ];
    let events = question(&xinghuo, &on).ask(&xinghuo).events();
    assert!(
        events[0].starts_with("PGRlZXBfeDE+"),
        "auto may think: {events:?}"
    );
    let remembered = events
        .iter()
        .find(|event| event.starts_with("YGBgbWVtb3J5RXh0cmFjdGlvb"));
    assert!(remembered.is_some(), "{events:?}");
    let asked = xinghuo.control().calls("ask").pop().unwrap();
    assert_eq!(asked.params["generation"], "spark");
    let delete = |ids: Value| modern(&xinghuo, 1, BATCH_DELETE).json(&json!({"chatListIds": ids}));
    assert_eq!(delete(json!([id])).ask(&xinghuo).value()["flag"], true);
    no_violations(&xinghuo);
    assert_eq!(xinghuo.control().state().conversations, 0);
    refused(&xinghuo, &delete(json!([id])), 200, "30002");
    refused(&xinghuo, &delete(json!([window])), 200, "40000");
    refused(&xinghuo, &delete(json!([])), 200, "40000");
    // The older deletion lives.
    let id = open(&xinghuo);
    let delete = modern(&xinghuo, 1, DELETE).json(&json!({"chatListId": id}));
    assert_eq!(delete.ask(&xinghuo).value()["flag"], true);
}

#[test]
fn sample_e_comes_out_byte_for_byte() {
    let xinghuo = spark();
    let script = |quirk: &str| Script {
        pieces: Some(["你好，", "世界！\n\n"].map(ToOwned::to_owned).to_vec()),
        quirks: vec!["clean".to_owned(), quirk.to_owned()],
        ..Script::default()
    };
    let said = |quirk: &str| {
        xinghuo.control().script(script(quirk)).unwrap();
        let window = open(&xinghuo).to_string();
        question(&xinghuo, &[("chatId", &window)])
            .ask(&xinghuo)
            .events()
    };
    let events = said("memory_inside");
    assert_eq!(
        events[..2],
        [
            "5L2g5aW977yM",
            "5LiW55WM77yBCgpgYGBtZW1vcnlFeHRyYWN0aW9uCnsibWVtb3J5IjpbeyJ0eXBlIjoicHJvZmlsZSIsImNvbnRlbnQiOiJ4In1dfQpgYGA=",
        ]
    );
    assert_eq!(events[events.len() - 2], "<end>");
    assert!(events.last().unwrap().ends_with("<sid>"));
    // `世界！\n\n```memo`, then the rest of it.
    let torn = said("memory_torn");
    assert_eq!(torn[1], "5LiW55WM77yBCgpgYGBtZW1v");
    assert!(torn[2].starts_with("cnlFeHRyYWN0aW9u"), "{torn:?}");
    assert!(
        said("no_memory")
            .iter()
            .all(|event| !event.contains("bWVtb3J5"))
    );
}

#[test]
fn refuses_wrong_forms_of_today() {
    let xinghuo = spark();
    let id = open(&xinghuo).to_string();
    let with = |changed: &[(&str, &str)]| {
        question(&xinghuo, &[&[("chatId", id.as_str())], changed].concat())
    };
    for changed in [
        ("options", "fast_think"),
        (
            "options",
            r#"{"chatOption":{"thinkPattern":"slow","routeVersion":"legacy"}}"#,
        ),
        ("firstChat", ""),
        ("firstChat", "false"),
        ("sid", "cht000b6cfc@dx18f7a7ef0bab81c560"),
        ("capabilities", "web"),
        ("fd", "12345"),
        ("clientType", ""),
    ] {
        refused(&xinghuo, &with(&[changed]), 200, "40000");
    }
    // Forgiven, but noted.
    let noted = |request: &Request, what: &str| {
        assert!(request.ask(&xinghuo).text().contains("<end>"), "{what}");
        let violation = xinghuo.control().log().pop().unwrap().violation.unwrap();
        assert!(violation.contains(what), "{violation}");
    };
    noted(
        &with(&[("options", r#"{"chatOption":{"thinkPattern":"auto"}}"#)]),
        "routeVersion",
    );
    let id = open(&xinghuo).to_string();
    noted(
        &question(&xinghuo, &[("chatId", &id), ("GtToken", "R0VFAA==")]),
        "GtToken",
    );
    let id = open(&xinghuo).to_string();
    noted(
        &question(&xinghuo, &[("chatId", &id)]).header("Botweb", "0"),
        "Botweb",
    );
    let id = open(&xinghuo).to_string();
    let old = question(&xinghuo, &[("chatId", &id)])
        .header("Origin", "https://xinghuo.xfyun.cn")
        .header("Referer", "https://xinghuo.xfyun.cn/desk");
    noted(&old, "Origin");
}

#[test]
fn each_generation_alone_refuses_the_other() {
    let xinghuo = start("xinghuo");
    let control = xinghuo.control();
    let id = window(&xinghuo, 1);
    // Both at once: the same window is asked in either form, and GtToken may be empty.
    assert!(
        form(&xinghuo, &[("chatId", &id), ("GtToken", "")])
            .ask(&xinghuo)
            .text()
            .contains("<end>")
    );
    let id = open(&xinghuo).to_string();
    assert!(
        question(&xinghuo, &[("chatId", &id)])
            .ask(&xinghuo)
            .text()
            .contains("<end>")
    );
    no_violations(&xinghuo);

    let classic = form(&xinghuo, &[("chatId", &id)])
        .header("Origin", "https://spark.xfyun.cn")
        .header("Referer", "https://spark.xfyun.cn/desk");
    // Refused, and no violation: a client has to find out.
    let other = |request: &Request, status: u16, what: &str| {
        let answer = request.ask(&xinghuo);
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(what), "{what}: {}", answer.text());
        let last = control.log().pop().unwrap();
        assert!(!last.ok && last.violation.is_none(), "{last:?}");
    };
    control.set_generation("spark").unwrap();
    other(&classic, 200, "40000");
    other(
        &call(&xinghuo, 1, "POST", CREATE)
            .header("Origin", "https://spark.xfyun.cn")
            .header("Referer", "https://spark.xfyun.cn/desk")
            .json(&json!({})),
        200,
        "40000",
    );
    control.set_generation("classic").unwrap();
    other(&question(&xinghuo, &[("chatId", &id)]), 200, "40000");
    other(
        &modern(&xinghuo, 1, CREATE).json(&json!({"showType": "2"})),
        200,
        "40000",
    );
    other(
        &modern(&xinghuo, 1, BATCH_DELETE).json(&json!({"chatListIds": [1]})),
        404,
        "404",
    );
    let id = window(&xinghuo, 1);
    refused(
        &xinghuo,
        &form(&xinghuo, &[("chatId", &id), ("GtToken", "")]),
        200,
        "[geeError]",
    );
    assert!(
        form(&xinghuo, &[("chatId", &id)])
            .ask(&xinghuo)
            .text()
            .contains("<end>")
    );
}
