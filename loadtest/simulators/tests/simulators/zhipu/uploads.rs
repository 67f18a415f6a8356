//! Uploads and videos (wire/zhipu.md §3, §4.2, §4.4).

use super::*;

const FILE: &str = "file|; filename=\"a.png\"\r\nContent-Type: image/png";

fn bearer(running: &Running, path: &str) -> Request {
    Request::new("POST", path).header(
        "Authorization",
        format!("Bearer {}", setting(running, "ZHIPU_TOKEN_2")),
    )
}

fn upload(running: &Running) -> Value {
    let answer = bearer(running, "/chatglm/backend-api/assistant/file_upload")
        .form(&[(FILE, "png")])
        .ask(running);
    answer.value()["result"].clone()
}

fn with(item: &Value) -> Value {
    let mut body = question("hi");
    body["messages"][0]["content"] = json!([{"type": "text", "text": "hi"}, item]);
    body
}

#[test]
fn a_picture_is_asked_about_as_it_was_given() {
    let zhipu = start("zhipu");
    let mut image = upload(&zhipu);
    image["image_url"] = image["file_url"].clone();
    image["order"] = json!(0);
    let good = json!({"type": "image", "image": [image]});
    assert!(
        asking(&zhipu, &with(&good))
            .ask(&zhipu)
            .text()
            .contains("finish")
    );
    assert!(zhipu.control().state().violations.is_empty());
    for (pointer, value) in [
        ("/image/0/file_id", json!("x")),
        ("/image/0/source_id", json!(null)),
        ("/image/0/width", json!(1)),
        ("/image/0/image_url", json!({"url": "x"})),
        ("/image/0/order", json!("0")),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let why = pointer.rsplit('/').next().unwrap();
        refused(&zhipu, &asking(&zhipu, &with(&wrong)), 400, 400, why);
    }
    let as_file = json!({"type": "file", "file": good["image"]});
    refused(
        &zhipu,
        &asking(&zhipu, &with(&as_file)),
        400,
        400,
        "image item",
    );
}

#[test]
fn uploads_are_as_strict_as_the_page() {
    let zhipu = start("zhipu");
    let path = "/chatglm/backend-api/assistant/file_upload";
    let wrong = bearer(&zhipu, path).form(&[("upload|; filename=\"a\"\r\nContent-Type: a/b", "x")]);
    refused(&zhipu, &wrong, 400, 400, "fields");
    let bare = bearer(&zhipu, path).form(&[("file", "x")]);
    refused(&zhipu, &bare, 400, 400, "filename");
    let nobody = Request::new("POST", path).form(&[(FILE, "x")]).ask(&zhipu);
    assert_eq!(nobody.value()["status"], 0);
    assert!(
        zhipu
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("Authorization")
    );
    let chat = call(&zhipu, "POST", "/chatglm/productivity-api/file/chat_upload");
    let listed = chat
        .form(&[(FILE, "x"), ("from", "chat"), ("assistant_id", MAIN)])
        .ask(&zhipu);
    assert!(listed.value()["result"][0]["file_id"].is_string());
}

#[test]
fn a_video_is_made_step_by_step() {
    let zhipu = start("zhipu");
    let video = |method, path: &str| {
        call(&zhipu, method, path).header("Referer", "https://chatglm.cn/video")
    };
    let source = bearer(&zhipu, "/chatglm/video-api/v1/static/upload")
        .form(&[(FILE, "x")])
        .ask(&zhipu)
        .value()["result"]["source_id"]
        .clone();
    let extra = json!({"emotional_atmosphere": "", "mirror_mode": "推近", "video_style": "油画"});
    let body = json!({
        "conversation_id": "", "prompt": "p", "source_list": [source], "advanced_parameter_extra": extra,
    });
    let mut wrong = body.clone();
    wrong["advanced_parameter_extra"]["video_style"] = json!("水彩");
    let path = "/chatglm/video-api/v1/chat";
    refused(
        &zhipu,
        &video("POST", path).json(&wrong),
        400,
        400,
        "video_style",
    );
    wrong = body.clone();
    wrong["source_list"] = json!(["x"]);
    refused(
        &zhipu,
        &video("POST", path).json(&wrong),
        400,
        400,
        "source_list",
    );
    let made = video("POST", path).json(&body).ask(&zhipu).value();
    let id = made["result"]["chat_id"].as_str().unwrap();
    let status = || {
        let path = format!("/chatglm/video-api/v1/chat/status/{id}");
        video("GET", &path).ask(&zhipu).value()["result"].clone()
    };
    let seen = [status(), status(), status()].map(|result| result["status"].clone());
    assert_eq!(seen, ["init", "processing", "finished"]);
    assert!(
        zhipu
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("once a second")
    );
    let gone = video("DELETE", &format!("{path}/{id}")).ask(&zhipu);
    assert_eq!(gone.value()["status"], 0);
    let again = video("DELETE", &format!("{path}/{id}"));
    refused(&zhipu, &again, 400, 400, "no video");
}

#[test]
fn lists_its_models() {
    let zhipu = start("zhipu");
    let path = "/chatglm/agent-api/operation/detail?tag=available_models";
    let listed = call(&zhipu, "GET", path).ask(&zhipu).value();
    assert_eq!(listed["result"]["models"][0]["model"], "glm-5.3");
    assert!(
        zhipu.control().state().violations.is_empty(),
        "{:?}",
        zhipu.control().state()
    );
}
