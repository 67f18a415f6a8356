//! What is refused: wrong requests (wire/xinghuo.md §3, §4), and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_forms() {
    let xinghuo = start("xinghuo");
    let id = window(&xinghuo, 1);
    let good = asking(&xinghuo, &id, "hi");
    let mut urlencoded = good
        .clone()
        .header("Content-Type", "application/x-www-form-urlencoded");
    urlencoded.body = format!("chatId={id}&text=hi").into_bytes();
    refused(&xinghuo, &urlencoded, 200, "40000");
    let wrong = [
        ("fd", "12345"),
        ("isBot", "1"),
        ("clientType", "7"),
        ("capabilities", "web"),
        ("text", ""),
        ("chatId", "x"),
    ];
    for (name, value) in wrong {
        refused(
            &xinghuo,
            &form(&xinghuo, &[("chatId", &id), (name, value)]),
            200,
            "40000",
        );
    }
    let swapped = good.clone().form(&[("isBot", "0"), ("fd", "123456")]);
    refused(&xinghuo, &swapped, 200, "40000");
    let typed = good.form(&[("fd|\r\nContent-Type: text/plain", "123456")]);
    refused(&xinghuo, &typed, 200, "40000");
    refused(
        &xinghuo,
        &form(&xinghuo, &[("chatId", &id), ("GtToken", "R0VFAA==")]),
        200,
        "[geeError]",
    );
    refused(
        &xinghuo,
        &form(&xinghuo, &[("chatId", "999")]),
        200,
        "[belongerr]",
    );
    let other = window(&xinghuo, 2);
    refused(
        &xinghuo,
        &asking(&xinghuo, &other, "hi"),
        200,
        "[belongerr]",
    );
    assert!(
        asking(&xinghuo, &id, &"长".repeat(7001))
            .ask(&xinghuo)
            .text()
            .contains("10907")
    );
}

#[test]
fn refuses_wrong_calls() {
    let xinghuo = start("xinghuo");
    let create = || call(&xinghuo, 1, "POST", CREATE).json(&json!({}));
    refused(&xinghuo, &create().without("Cookie"), 200, "80000");
    refused(
        &xinghuo,
        &create().header("Cookie", "ssoSessionId=other"),
        200,
        "80000",
    );
    refused(
        &xinghuo,
        &create().json(&json!({"name": "x"})),
        200,
        "40000",
    );
    refused(
        &xinghuo,
        &create().header("Content-Type", "text/plain"),
        200,
        "40000",
    );
    for dead in [
        "/iflygpt-chat/u/chat_list/create",
        "/iflygpt-chat/u/chat/send_text",
        "/iflygpt/u/chat-list/v1/delete-chat-list",
    ] {
        refused(
            &xinghuo,
            &call(&xinghuo, 1, "POST", dead).json(&json!({})),
            404,
            "404",
        );
    }
    refused(&xinghuo, &call(&xinghuo, 1, "GET", CREATE), 405, "405");
    // Forgiven, but noted.
    assert_eq!(
        create()
            .header("Referer", "https://x")
            .ask(&xinghuo)
            .value()["flag"],
        true
    );
    assert!(
        xinghuo
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("Referer")
    );
    let bare = create().header(
        "Cookie",
        "ssoSessionId=0b6f6a52-5a0e-4f0c-9d3e-51a1c0de0003",
    );
    assert_eq!(bare.ask(&xinghuo).value()["flag"], true);
    assert_eq!(xinghuo.control().log().pop().unwrap().violation, None);
    assert_eq!(
        call(&xinghuo, 1, "GET", "/iflygpt/userInfo")
            .ask(&xinghuo)
            .value()["code"],
        0
    );
}

#[test]
fn faults_look_as_the_page_has_them() {
    let xinghuo = start("xinghuo");
    let control = xinghuo.control();
    let under = |fault: &str| -> Answer {
        control.fault(fault, 1).unwrap();
        asking(&xinghuo, &window(&xinghuo, 1), "count:9").ask(&xinghuo)
    };
    assert_eq!(under("json_80000").value()["code"], 80000);
    assert_eq!(under("gee_error").events()[0], "[geeError]");
    assert_eq!(under("belong_error").events(), ["[belongerr]"]);
    assert_eq!(under("kx_before_text").events(), ["<kx>"]);
    assert_eq!(under("kx_after_text").events().last().unwrap(), "<kx>");
    let events = under("moderated_10014_after_text").events();
    assert!(
        events.len() > 3
            && events[events.len() - 3] == "[error]"
            && events[events.len() - 2].contains("10014"),
        "{events:?}"
    );
    assert_eq!(under("empty").events()[0], "<end>");
    assert!(!under("garbage").text().contains("<end>"));
    assert!(under("json_line_error").events()[0].starts_with('{'));
    assert_eq!(
        under("not_event_stream").headers["content-type"],
        "text/html"
    );
    control.fault("create_too_fast", 1).unwrap();
    assert!(
        post(&xinghuo, 1, CREATE, &json!({}))["desc"]
            .as_str()
            .unwrap()
            .contains("过快")
    );
    for fault in control.known_faults() {
        xinghuo.reset();
        control.fault(fault, 1).unwrap();
        assert_eq!(control.state().faults_pending, [fault]);
    }
}
