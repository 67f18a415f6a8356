//! What happens to sessions, answers and files over time (§4, §8).

use std::time::Duration;

use super::*;
use crate::client::until;

#[test]
fn a_session_goes_on_and_is_deleted_once() {
    let deepseek = start("deepseek");
    let id = session(&deepseek);
    asking(&deepseek, &question(&id, "count:3")).ask(&deepseek);
    let mut second = question(&id, "echo:b");
    second["parent_message_id"] = json!(2);
    let text = asking(&deepseek, &second).ask(&deepseek).text();
    assert!(text.contains(r#""request_message_id":3,"response_message_id":4"#));
    let history = call(
        &deepseek,
        1,
        "GET",
        &format!("/api/v0/chat/history_messages?chat_session_id={id}"),
    );
    let history = history.ask(&deepseek).value();
    let rows = &history["data"]["biz_data"]["chat_messages"];
    assert_eq!(rows[1]["fragments"][0]["content"], "1 2 3");
    let delete = || {
        post(
            &deepseek,
            "/api/v0/chat_session/delete",
            &json!({"chat_session_id": id}),
        )
    };
    assert_eq!(delete()["data"]["biz_code"], 0);
    no_violations(&deepseek);
    assert_eq!(delete()["data"]["biz_code"], 1);
    let state = deepseek.control().state();
    assert_eq!(
        (state.created, state.deleted, state.conversations),
        (1, 1, 0)
    );
}

#[test]
fn an_incomplete_answer_is_continued() {
    let deepseek = start("deepseek");
    for (fault, status) in [
        ("incomplete", "INCOMPLETE"),
        ("auto_continue", "AUTO_CONTINUE"),
        ("generation_err", "INCOMPLETE"),
    ] {
        let control = deepseek.control();
        control.fault(fault, 1).unwrap();
        let id = session(&deepseek);
        let first = asking(&deepseek, &question(&id, "think:abcdef count:6"))
            .ask(&deepseek)
            .text();
        assert!(first.contains(&format!(
            r#""p":"response/status","o":"SET","v":"{status}""#
        )));
        let go_on = json!({"chat_session_id": id, "message_id": 2, "fallback_to_resume": true});
        let path = "/api/v0/chat/continue";
        control
            .order(
                serde_json::from_value(json!({"name": "incomplete", "step": "continue"})).unwrap(),
            )
            .unwrap();
        let second = call(&deepseek, 1, "POST", path)
            .json(&go_on)
            .ask(&deepseek)
            .text();
        assert!(second.starts_with(
            "event: ready\ndata: {\"request_message_id\":1,\"response_message_id\":2"
        ));
        assert!(
            second.contains(r#""content":"ab"#),
            "the snapshot repeats: {second}"
        );
        let third = call(&deepseek, 1, "POST", path)
            .json(&go_on)
            .ask(&deepseek)
            .text();
        assert!(
            third.contains("FINISHED") && third.contains(r#""v":" 6""#),
            "{third}"
        );
        let again = call(&deepseek, 1, "POST", path).json(&go_on);
        refused(&deepseek, &again, 200, "invalid message id");
    }
}

#[test]
fn stop_stream_ends_the_stream() {
    let deepseek = start("deepseek");
    for (prompt, what) in [
        ("pace:200 count:500", r#""quasi_status","v":"INCOMPLETE""#),
        ("pace:60000 echo:x", "manual_abort"),
    ] {
        let id = session(&deepseek);
        let mut answer = asking(&deepseek, &question(&id, prompt))
            .send(&deepseek)
            .unwrap();
        let wanted = usize::from(what != "manual_abort");
        while answer.text().matches(r#""v":"#).count() < wanted {
            assert!(answer.chunk().unwrap());
        }
        let stop = json!({"chat_session_id": id, "message_id": 2});
        let stopped = post(&deepseek, "/api/v0/chat/stop_stream", &stop);
        assert_eq!(stopped["data"]["biz_data"], Value::Null);
        answer.rest().unwrap();
        assert!(answer.text().contains(what), "{}", answer.text());
        assert!(answer.text().contains("event: close"));
    }
    no_violations(&deepseek);
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let deepseek = start("deepseek");
    let control = deepseek.control();
    for prompt in ["pace:60000 count:9", "pace:100 count:900"] {
        let request = asking(&deepseek, &question(&session(&deepseek), prompt));
        let mut answer = request.send(&deepseek).unwrap();
        assert!(answer.chunk().unwrap());
        drop(answer);
        let time = until(|| control.state().open_streams == 0);
        assert!(time < Duration::from_millis(300), "{time:?}");
        assert!(control.calls("ask").pop().unwrap().aborted);
    }
}

fn upload(running: &Running, kind: &str) -> String {
    let name = format!("file|; filename=\"a.bin\"\r\nContent-Type: {kind}");
    let answer = call(running, 1, "POST", UPLOAD)
        .header("X-Ds-Pow-Response", proven(running, 1, UPLOAD))
        .form(&[(name.as_str(), "hello")])
        .ask(running)
        .value();
    assert_eq!(answer["data"]["biz_data"]["status"], "PENDING", "{answer}");
    answer["data"]["biz_data"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn status(running: &Running, id: &str) -> String {
    let path = format!("/api/v0/file/fetch_files?file_ids={id}");
    let answer = call(running, 1, "GET", &path).ask(running).value();
    let status = &answer["data"]["biz_data"]["files"][0]["status"];
    status.as_str().unwrap().to_owned()
}

fn until_ready(running: &Running, id: &str) {
    while status(running, id) != "SUCCESS" {}
}

#[test]
fn files_are_uploaded_waited_for_and_used() {
    let deepseek = start("deepseek");
    let id = upload(&deepseek, "text/plain");
    let with_file = |model: Value, id: &str| {
        let mut body = question(&session(&deepseek), "echo:x");
        body["ref_file_ids"] = json!([id]);
        body["model_type"] = model;
        asking(&deepseek, &body)
    };
    assert_eq!(status(&deepseek, &id), "PARSING");
    assert_eq!(status(&deepseek, &id), "SUCCESS");
    assert!(
        with_file(Value::Null, &id)
            .ask(&deepseek)
            .text()
            .contains("FINISHED")
    );
    deepseek.control().fault("upload_normal", 1).unwrap();
    let picture = upload(&deepseek, "image/png");
    until_ready(&deepseek, &picture);
    let vision = || json!("vision");
    assert!(
        with_file(vision(), &picture)
            .ask(&deepseek)
            .text()
            .contains(r#""biz_code":9"#)
    );
    let fork = json!({"file_id": picture, "to_model_type": "vision"});
    let fork = post(&deepseek, "/api/v0/file/fork_file_task", &fork);
    let fork = fork["data"]["biz_data"]["id"].as_str().unwrap().to_owned();
    until_ready(&deepseek, &fork);
    assert!(
        with_file(vision(), &fork)
            .ask(&deepseek)
            .text()
            .contains("FINISHED")
    );
    no_violations(&deepseek);
    let early = upload(&deepseek, "text/plain");
    refused(
        &deepseek,
        &with_file(Value::Null, &early),
        200,
        "invalid ref file id",
    );
    deepseek.control().fault("file_content_empty", 1).unwrap();
    assert_eq!(status(&deepseek, &early), "CONTENT_EMPTY");
    assert_eq!(status(&deepseek, &early), "CONTENT_EMPTY");
}

#[test]
fn a_login_gives_a_new_token() {
    let deepseek = start("deepseek");
    let body = json!({"email": "sim-1@example.com", "password": "sim-password", "device_id": "", "os": "web"});
    let log_in = || {
        let request = call(&deepseek, 1, "POST", "/api/v0/users/login").without("Authorization");
        request.json(&body).ask(&deepseek).value()
    };
    let fresh = log_in()["data"]["biz_data"]["user"]["token"].clone();
    let current = call(&deepseek, 1, "GET", "/api/v0/users/current");
    refused(&deepseek, &current, 200, "40003");
    let bearer = format!("Bearer {}", fresh.as_str().unwrap());
    let answer = current
        .header("Authorization", bearer)
        .ask(&deepseek)
        .value();
    assert_eq!(answer["data"]["biz_data"]["token"], fresh);
    log_in();
    assert!(
        deepseek.control().log().pop().unwrap().violation.is_none(),
        "the old one was refused"
    );
    log_in();
    assert!(
        deepseek
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("bursts")
    );
}
