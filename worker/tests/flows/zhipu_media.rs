//! What goes along with a question to Zhipu, and pictures and videos within a chat.

use serde_json::json;

use crate::{
    support::{Hive, PIXEL, SOON, assert_no_violations, question, settled, simulator},
    zhipu::count,
};

#[actix_web::test]
async fn pictures_and_documents_go_along() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let message = json!([
        {"type": "text", "text": "echo:seen"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "file", "file": {"filename": "notes.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}},
        {"type": "file", "file_url": {"url": "data:text/plain;base64,aGk="}},
    ]);
    let body = json!({"model": "glm-4v-plus", "messages": [{"role": "user", "content": message}]});
    let reply = hive.post(&body).await;
    assert_eq!(reply.content(), "seen", "{}", reply.text);
    assert_eq!(count(&zhipu.control(), "upload"), 3);
    println!("{:?}", zhipu.control().calls("ask")[0].params);
    // What is tried again is not uploaded again.
    zhipu.control().fault("sign_wrong", 1).unwrap();
    assert_eq!(hive.post(&body).await.content(), "seen");
    assert_eq!(count(&zhipu.control(), "upload"), 6);
    zhipu.control().fault("upload_refused", 1).unwrap();
    let refused = hive.post(&body).await;
    assert_eq!(
        (refused.status, refused.error().2.as_str()),
        (400, "file_rejected"),
        "{}",
        refused.text
    );
    // A picture alone is a question, too.
    let alone = json!({"model": "zhipu", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]});
    let reply = hive.post(&alone).await;
    assert_eq!(
        reply.status,
        200,
        "{} {:#?}",
        reply.text,
        zhipu.control().state().violations
    );
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn a_drawing_without_pictures_is_an_error() {
    let zhipu = simulator("zhipu", 1);
    for (fault, expected) in [
        ("no_pictures", (502, "upstream_unavailable")),
        ("no_points", (429, "upstream_rate_limited")),
        ("empty", (502, "upstream_unavailable")),
    ] {
        for stream in [false, true] {
            zhipu.reset();
            let hive = Hive::start(&[&zhipu], &[]);
            zhipu.control().fault(fault, 0).unwrap();
            let mut body = question("cogview-3-plus", "a cat");
            body["stream"] = json!(stream);
            let error = hive.post(&body).await.error();
            assert_eq!((error.0, error.2.as_str()), expected, "{fault}");
            settled(&zhipu.control(), SOON).await;
        }
    }
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn videos_are_made_waited_for_and_deleted() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let made = hive.ask("cogvideox", "a cat that runs").await;
    let violations = zhipu.control().state().violations;
    assert_eq!(made.status, 200, "{} {violations:#?}", made.text);
    assert!(made.content().contains("](http"), "{}", made.content());
    assert!(made.message().get("reasoning_content").is_none());
    // Whoever streams sees that it goes on, and has the link at the end.
    let streamed = hive.stream("cogvideox", "a cat that runs").await;
    let told = streamed.streamed("reasoning_content");
    assert!(told.starts_with("The video is being made"), "{told}");
    assert!(streamed.streamed("content").contains("](http") && streamed.is_done());
    // From a picture.
    let message = json!([{"type": "text", "text": "let it run"}, {"type": "image_url", "image_url": {"url": PIXEL}}]);
    let body = json!({"model": "cogvideox", "messages": [{"role": "user", "content": message}]});
    let made = hive.post(&body).await;
    let violations = zhipu.control().state().violations;
    assert_eq!(made.status, 200, "{} {violations:#?}", made.text);
    for fault in ["video_refused", "video_failed"] {
        zhipu.control().fault(fault, 0).unwrap();
        let before = count(&zhipu.control(), "video");
        let reply = hive.ask("cogvideox", "x").await;
        assert_ne!(reply.status, 200, "{fault}: {}", reply.text);
        if fault == "video_failed" {
            // It has cost points by then: it is not made a second time.
            assert_eq!(count(&zhipu.control(), "video"), before + 1);
        }
        zhipu.control().clear_faults();
    }
    assert!(count(&zhipu.control(), "video_delete") >= 2);
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}
