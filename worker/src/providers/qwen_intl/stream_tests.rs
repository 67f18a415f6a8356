use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const INCREMENTS: &str = include_str!("../../../tests/fixtures/qwen_intl/increments.sse");
const SNAPSHOTS: &str = include_str!("../../../tests/fixtures/qwen_intl/snapshots.sse");
const PICTURE: &str = include_str!("../../../tests/fixtures/qwen_intl/picture.sse");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    error: Option<Kind>,
    response_id: String,
    pictures: Vec<String>,
}

impl Said {
    fn finish(&self) -> Option<FinishReason> {
        match self.rest.last() {
            Some(ChatEvent::Finish(reason)) => Some(*reason),
            _ => None,
        }
    }
}

fn said<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut events, mut said) = (Vec::new(), Said::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    said.error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|error| error.kind);
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            other => said.rest.push(other),
        }
    }
    said.response_id = decoder.response_id().unwrap_or_default().to_owned();
    said.pictures = decoder.pictures().to_vec();
    said
}

fn decode(output: Output, text: &str) -> Said {
    said(Decoder::new("INTL_COOKIE", output), [text.as_bytes()])
}

fn increments(frames: &[Value]) -> Said {
    let text: String = frames
        .iter()
        .map(|frame| format!("data: {frame}\n\n"))
        .collect();
    decode(Output::Increments, &text)
}

fn delta(phase: &str, content: &str, status: &str) -> Value {
    json!({"choices": [{"delta": {"role": "assistant", "content": content, "phase": phase, "status": status}}], "response_id": "r1"})
}

/// Section 7.3, sample A.
#[test]
fn sample_a_is_what_the_wire_page_says() {
    let said = decode(Output::Increments, INCREMENTS);
    assert_eq!(said.text, "Hello, world!👋");
    assert_eq!((said.error, said.response_id.as_str()), (None, "r1"));
    let usage = Usage {
        prompt_tokens: 10,
        completion_tokens: 5,
        ..Usage::default()
    };
    assert_eq!(
        said.rest,
        [
            ChatEvent::Usage(usage),
            ChatEvent::Finish(FinishReason::Stop)
        ]
    );
}

/// Section 7.3, sample B.
#[test]
fn sample_b_is_what_the_wire_page_says() {
    let said = decode(Output::Snapshots, SNAPSHOTS);
    assert_eq!(said.reasoning, "First thought\n\nSecond thought");
    assert_eq!(said.text, "测试通过");
    assert_eq!(said.rest, [ChatEvent::Finish(FinishReason::Stop)]);
}

/// Section 7.4.
#[test]
fn the_sample_of_a_picture_is_what_the_wire_page_says() {
    let url = "https://cdn.qwenlm.ai/output/u/t2i/a.png?key=k";
    let shown = decode(Output::Increments, PICTURE);
    assert_eq!(shown.text, format!("![image]({url})"));
    assert_eq!(shown.finish(), Some(FinishReason::Stop));
    let decoder = Decoder::new("V", Output::Increments).drawing();
    let drawn = said(decoder, [PICTURE.as_bytes()]);
    assert_eq!(drawn.pictures, [url]);
    assert_eq!((drawn.text.as_str(), drawn.error), ("", None));
}

#[test]
fn the_samples_decode_however_they_are_torn() {
    for (output, sample) in [
        (Output::Increments, INCREMENTS),
        (Output::Snapshots, SNAPSHOTS),
        (Output::Increments, PICTURE),
    ] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| {
                let decoder = Decoder::new("V", output);
                said(decoder, pieces.iter().copied())
            },
            |said| said.error.is_some() != said.finish().is_some(),
        );
    }
}

/// Section 7.2: with increments, a piece may repeat the text so far.
#[test]
fn how_a_piece_is_meant_is_never_guessed() {
    let frames = [
        delta("answer", "哈", "typing"),
        delta("answer", "哈哈", "typing"),
        delta("answer", "", "finished"),
    ];
    assert_eq!(increments(&frames).text, "哈哈哈");
    let text: String = frames
        .iter()
        .map(|frame| format!("data: {frame}\n\n"))
        .collect();
    assert_eq!(decode(Output::Snapshots, &text).text, "哈哈");
}

#[test]
fn phases_go_where_they_belong() {
    let said = increments(&[
        delta("think", "hm ", "typing"),
        delta("think", "yes", "typing"),
        delta("think", "", "finished"),
        json!({"choices": [{"delta": {"role": "function", "name": "web_search", "content": "", "phase": "web_search", "status": "typing",
            "function_call": {"name": "web_search", "arguments": "{\"queries\":[\"q\"]}"}}}]}),
        json!({"choices": [{"delta": {"role": "function", "name": "web_search", "content": "", "phase": null, "status": "finished",
            "extra": {"web_search_info": [{"url": "https://e/1", "title": "One", "snippet": "s", "hostname": "e", "date": ""}]}}}]}),
        json!({"choices": [{"delta": {"content": "", "phase": "web_search", "status": "finished",
            "extra": {"tool_result": {"docs": [{"url": "https://e/1", "title": "One"}, {"url": "https://e/2", "title": "Two"}]}}}}]}),
        delta("tool_call", "secret", "finished"),
        delta("", "no ", "typing"),
        json!({"choices": [{"delta": {"content": "phase"}}]}),
        delta("answer", "", "finished"),
    ]);
    assert_eq!(said.reasoning, "hm yes");
    assert_eq!(said.text, "no phase");
    let citation = |index, url: &str, title: &str| ChatEvent::Citation {
        index,
        url: url.to_owned(),
        title: title.to_owned(),
    };
    assert_eq!(
        said.rest,
        [
            citation(1, "https://e/1", "One"),
            citation(2, "https://e/2", "Two"),
            ChatEvent::Finish(FinishReason::Stop)
        ]
    );
}

#[test]
fn pictures_in_an_ordinary_chat_are_told_once() {
    let list = json!({"choices": [{"delta": {"content": "see", "phase": "answer", "status": "typing",
        "extra": {"image_list": [{"image": "https://e/a.png?key=k"}, {"image": "https://e/a.png?key=k"}]}}}]});
    let said = increments(&[list.clone(), list, delta("answer", "", "finished")]);
    assert_eq!(said.text, "see\n\n![image](https://e/a.png?key=k)see");
}

/// The end of a phase that is not the answer's is no end, and the end of the body is one (section 7.1).
#[test]
fn only_the_answers_end_is_the_end() {
    let open = increments(&[
        delta("think", "x", "finished"),
        delta("thinking_summary", "", "finished"),
        delta("web_search", "", "finished"),
        delta("image_gen", "https://e/a.png", "finished"),
        delta("answer", "after", "typing"),
    ]);
    assert_eq!(open.text, "![image](https://e/a.png)after");
    assert_eq!(open.finish(), Some(FinishReason::Stop));
    assert_eq!(open.error, None);
}

#[test]
fn an_answer_without_content_is_an_error() {
    for (frames, kind) in [
        (vec![], Kind::Unavailable),
        (vec![delta("answer", "", "finished")], Kind::Unavailable),
        (vec![delta("think", "x", "typing")], Kind::Unavailable),
        (vec![delta("answer", "x", "error")], Kind::Unavailable),
    ] {
        let said = increments(&frames);
        assert_eq!(
            (said.error, said.finish()),
            (Some(kind), None),
            "{frames:?}"
        );
    }
}

/// Section 8: what comes as a frame, before any text and after it.
#[test]
fn errors_within_the_stream_are_known() {
    for (frame, kind) in [
        (
            json!({"error": {"code": "Too_Many_Requests", "details": "x"}}),
            Kind::RateLimited,
        ),
        (
            json!({"success": false, "data": {"code": "RateLimited", "num": 2}}),
            Kind::QuotaSpent,
        ),
        (
            json!({"ret": ["FAIL_SYS_USER_VALIDATE", "RGV587_ERROR::SM::x"], "data": {}}),
            Kind::Verification,
        ),
        (
            json!({"error": {"code": "data_inspection_failed", "details": "x"}}),
            Kind::Moderated,
        ),
        (
            json!({"choices": [{"delta": {"content": "lost"}}], "error": {"message": "x"}}),
            Kind::Unavailable,
        ),
    ] {
        assert_eq!(
            increments(std::slice::from_ref(&frame)).error,
            Some(kind),
            "{frame}"
        );
        let after = increments(&[delta("answer", "some", "typing"), frame.clone()]);
        assert_eq!(after.text, "some");
        if kind == Kind::Moderated {
            assert_eq!(after.finish(), Some(FinishReason::ContentFilter));
        } else {
            assert_eq!((after.error, after.finish()), (Some(kind), None), "{frame}");
        }
    }
}

#[test]
fn what_is_no_object_is_nothing_and_what_is_no_json_is_told() {
    let said = decode(
        Output::Increments,
        &format!(
            ": beat\n\ndata: true\n\ndata: [DONE]\n\ndata: {{\"response.info\":{{\"action\":\"keep_alive\"}}}}\n\ndata: {{\"response.stopped\":{{}}}}\n\ndata: {{\"done\":true}}\n\ndata: {} \n\n",
            delta("answer", "x", "finished")
        ),
    );
    assert_eq!((said.text.as_str(), said.error), ("x", None));
    let broken = decode(Output::Increments, "data: {\"choices\": [}\n\n");
    assert_eq!(broken.error, Some(Kind::Protocol));
    // Cut within an event.
    let cut = decode(Output::Increments, "data: {\"choices\": [{\"del");
    assert_eq!(cut.error, Some(Kind::Unavailable));
}

#[test]
fn numbers_of_tokens_may_be_texts() {
    let mut last = delta("answer", "x", "finished");
    last["usage"] = json!({"input_tokens": "7", "output_tokens": 3, "total_tokens": "10",
        "output_tokens_details": {"text_tokens": 1, "reasoning_tokens": "2"}});
    let usage = Usage {
        prompt_tokens: 7,
        completion_tokens: 3,
        reasoning_tokens: 2,
        cached_tokens: 0,
    };
    assert_eq!(
        increments(&[last]).rest.first(),
        Some(&ChatEvent::Usage(usage))
    );
}

#[test]
fn half_a_character_waits_for_the_other() {
    let text = r#"data: {"choices":[{"delta":{"content":"a\ud83d","phase":"answer"}}]}

data: {"choices":[{"delta":{"content":"\udc4bb","phase":"answer"}}]}

data: {"choices":[{"delta":{"content":"\ud83d","phase":"answer","status":"finished"}}]}

"#;
    assert_eq!(decode(Output::Increments, text).text, "a👋b\u{FFFD}");
}

#[test]
fn a_member_of_another_type_does_not_end_the_answer() {
    let odd = json!({"choices": [{"delta": {"content": 5, "phase": []}}], "response_id": 7});
    let said = increments(&[odd, delta("answer", "x", "finished")]);
    assert_eq!((said.text.as_str(), said.error), ("x", None));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, drawing: bool, snapshots: bool) {
        let output = if snapshots { Output::Snapshots } else { Output::Increments };
        let decoder = Decoder::new("V", output);
        let decoder = if drawing { decoder.drawing() } else { decoder };
        let _ = said(decoder, [b"data: {\"choices\":".as_slice(), &bytes]);
    }
}
