//! The answer of `/chat/completion`. Source: wire/doubao.md §6.1 to §6.6.

use serde_json::{Value, json};

use super::{
    ask::Ask,
    chats::Ids,
    refusal::{self, Error},
};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "brief_rest",       // the last piece is only in `brief`
    "brief_short",      // `brief` is the start of the text
    "chunks",           // all text in STREAM_CHUNK
    "creation_ext",     // polled pictures stand in `ext`
    "crlf",             // lines end in CRLF
    "deltas",           // all text but the first piece in CHUNK_DELTA
    "fetch_stream",     // an event about the rest of a long task, and there is none
    "hidden_block",     // a block that is not to be seen
    "multi_data",       // data in two lines
    "no_end_3",         // the connection closes after the first end
    "no_ids",           // no `id:` lines
    "no_suggest",       // no suggestions after the answer
    "patch_102",        // text as a patch of the message's content
    "replace",          // a block's text comes anew, longer
    "rewritten",        // a block's text comes anew, and begins with something else
    "snapshot",         // text as snapshots of the whole
    "strings",          // objects and arrays as JSON texts
    "think_10090",      // the other number of thoughts
    "thinking_content", // thoughts inside the block that opens them
    "tool_children",    // text below a step of a tool
    "unknown_events",   // events and blocks that mean nothing
];

const REWRITTEN: &str = "改写：";
const CHATTER: &str = "正在为你生成图片";

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// The ends, and nothing was said.
    Empty,
    /// The rest is to be fetched elsewhere, and there is no text.
    Fetch,
    /// This error, after so many pieces.
    Error(usize, Error),
    /// A frame that is no JSON, after so many pieces.
    Bad(usize),
    /// A clean end of the body, after so many pieces.
    CutOff(usize),
}

impl End {
    /// How many pieces are said, if not all.
    pub(super) fn pieces(self) -> Option<usize> {
        match self {
            Self::Finished => None,
            Self::Empty | Self::Fetch => Some(0),
            Self::Error(pieces, _) | Self::Bad(pieces) | Self::CutOff(pieces) => Some(pieces),
        }
    }
}

/// The text while a picture is made.
pub(super) fn chatter() -> Vec<String> {
    vec![CHATTER.to_owned()]
}

/// A block with pictures: those that are ready have addresses.
pub(super) fn creation(pictures: &[String], ready: bool) -> Value {
    let image = |(at, url): (usize, &String)| {
        let urls = match ready {
            true => json!({
                "key": format!("sim/{at}.png"), "status": 2, "image_ori_raw": {"url": url},
                "image_ori": {"url": format!("{url}&size=ori")}, "image_thumb": {"url": format!("{url}&size=thumb")},
            }),
            false => json!({"key": format!("sim/{at}.png"), "status": 1}),
        };
        json!({"type": 1, "image": urls})
    };
    let list: Vec<_> = pictures.iter().enumerate().map(image).collect();
    json!({"creations": list})
}

/// Frames, written one by one.
struct Writer<'a> {
    answer: &'a Answer,
    ids: &'a Ids,
    id: usize,
    acts: Vec<Act>,
}

impl Writer<'_> {
    fn frame(&mut self, event: &str, data: &str) -> String {
        let id = (!self.answer.quirk("no_ids")).then_some(self.id);
        let data = match self.answer.quirk("multi_data") {
            // Between two members, where JSON allows a line feed.
            true => data.replacen("\":", "\":\ndata: ", 1),
            false => data.to_owned(),
        };
        let frame = refusal::frame(id, event, &data);
        self.id += 1 + self.id % 3;
        match self.answer.quirk("crlf") {
            true => frame.replace('\n', "\r\n"),
            false => frame,
        }
    }

    fn send(&mut self, event: &str, data: &str) {
        let frame = self.frame(event, data);
        self.acts.push(Act::send(frame));
    }

    fn say(&mut self, event: &str, data: &str) {
        let act = Act::say(self.frame(event, data));
        self.acts.extend(Answer::paced(self.answer.pace, act));
    }

    fn notify(&mut self, bot: &str, block: &str) -> String {
        let Ids {
            conversation,
            section,
            question,
            answer,
            index,
        } = self.ids;
        let content = format!(
            r#"{{"content_block":[{block}],"content_status":100,"ext":{{"agent_name":"豆包","model_type":"38"}},"content_type":9999}}"#
        );
        format!(
            r#"{{"content":{},"meta":{{"message_id":"{answer}","conversation_id":"{conversation}","section_id":"{section}","sender_id":"{bot}","user_type":2,"index_in_conv":{},"bot_reply_message_id":"{question}"}}}}"#,
            self.string(&content),
            index + 1
        )
    }

    fn chunk(&self, ops: &[String]) -> String {
        let ops = format!("[{}]", ops.join(","));
        format!(
            r#"{{"message_id":"{}","patch_op":{}}}"#,
            self.ids.answer,
            self.string(&ops)
        )
    }

    /// §6.1: some values may come as texts.
    fn string(&self, value: &str) -> String {
        match self.answer.quirk("strings") {
            true => Value::from(value).to_string(),
            false => value.to_owned(),
        }
    }
}

/// A block of an answer; the member order is that of the samples.
fn block(kind: u32, id: &str, content: &str, finish: bool, more: &str) -> String {
    patched(kind, id, content, finish, 1, more)
}

fn patched(kind: u32, id: &str, content: &str, finish: bool, patch: u32, more: &str) -> String {
    format!(
        r#"{{"block_type":{kind},"block_id":"{id}","content":{content},"is_finish":{finish},"patch_type":{patch}{more}}}"#
    )
}

fn text(said: &str) -> String {
    format!(r#"{{"text_block":{{"text":{}}}}}"#, json!(said))
}

fn op(object: u32, kind: u32, value: &str) -> String {
    format!(r#"{{"patch_object":{object},"patch_type":{kind},"patch_value":{value}}}"#)
}

/// A patch of one block.
fn content(block: &str) -> String {
    op(1, 1, &format!(r#"{{"content_block":[{block}]}}"#))
}

fn speech(said: &str) -> String {
    op(111, 1, &format!(r#"{{"tts_content":{}}}"#, json!(said)))
}

const CLOSED: &str = r#"{"text_block":{}}"#;
const THOUGHTS: &str = r#","parent_id":"700""#;

/// The answer to a question.
pub(super) fn acts(answer: &Answer, ask: &Ask, ids: &Ids, end: End) -> Acts {
    let mut writer = Writer {
        answer,
        ids,
        id: 0,
        acts: Vec::new(),
    };
    opening(&mut writer, ask);
    if end == End::Fetch || answer.quirk("fetch_stream") {
        writer.send(
            "FETCH_STREAM",
            r#"{"fetch_type":2,"fetch_key":"sim","append_scene":1,"thread_id":"1"}"#,
        );
    }
    let total = end.pieces().unwrap_or(usize::MAX).min(answer.text.len());
    let pieces = answer.text.get(..total).unwrap_or_default();
    let thinks = !answer.reasoning.is_empty() && end.pieces() != Some(0);
    let whole = end == End::Finished;
    let searches = whole && !answer.citations.is_empty();
    if thinks {
        think(&mut writer, ask);
    }
    if searches {
        search(&mut writer, ask, !thinks);
    }
    say(&mut writer, ask, pieces, thinks || searches, whole);
    if whole && !answer.images.is_empty() {
        for (ready, patch) in [(false, 1), (true, 3)] {
            let value = json!({"creation_block": creation(&answer.images, ready)}).to_string();
            let ops = [content(&patched(2074, "950", &value, ready, patch, ""))];
            let data = writer.chunk(&ops);
            writer.say("STREAM_CHUNK", &data);
        }
    }
    writer.acts.push(Act::Done);
    closing(&mut writer, pieces, end);
    Box::new(writer.acts.into_iter())
}

fn opening(writer: &mut Writer<'_>, ask: &Ask) {
    let Ids {
        conversation,
        section,
        question,
        index,
        ..
    } = writer.ids.clone();
    let local = &ask.local_message;
    writer.send("SSE_HEARTBEAT", "{}");
    writer.id = 0;
    writer.send(
        "SSE_ACK",
        &format!(
            r#"{{"query_list":[{{"question_id":"{question}","local_message_id":"{local}","message_index":{index}}}],"ack_client_meta":{{"conversation_id":"{conversation}","conversation_type":3,"section_id":"{section}"}},"timeout_conf":{{"answer_first_pending_time":180000,"packet_interval_time":120000}}}}"#
        ),
    );
    let id = ask.keys.last().map(String::as_str).unwrap_or_default();
    let said = json!(ask.prompt);
    let echo = format!(
        r#"[{{"block_type":10000,"block_id":"{id}","content":{{"text_block":{{"text":{said}}}}}}}]"#
    );
    let message = format!(
        r#"{{"conversation_id":"{conversation}","message_id":"{question}","user_type":1,"content_type":9999,"content":{},"index_in_conv":{index},"content_block":[{{"block_type":10000,"block_id":"{id}","content":{{"text_block":{{"text":{said}}}}},"is_finish":false}}],"section_id":"{section}"}}"#,
        json!(echo)
    );
    let message = writer.string(&message);
    writer.send("FULL_MSG_NOTIFY", &format!(r#"{{"message":{message}}}"#));
    if writer.answer.quirk("unknown_events") {
        writer.send("STREAM_TIMEOUT_CONTROL", r#"{"sim":1}"#);
        writer.send("DOWNLINK_CMD", "{}");
        writer.send("SIM_NEW", r#"{"text":"not this"}"#);
    }
}

/// Thoughts: a block that opens them, texts below it, and the block that closes them.
fn think(writer: &mut Writer<'_>, ask: &Ask) {
    let answer = writer.answer;
    let kind = match answer.quirk("think_10090") {
        true => 10090,
        false => 10040,
    };
    let title = r#"{"thinking_block":{"streaming_title":"深度思考中"}}"#;
    let data = writer.notify(&ask.bot, &block(kind, "700", title, false, ""));
    writer.send("STREAM_MSG_NOTIFY", &data);
    for (at, thought) in answer.reasoning.iter().enumerate() {
        if answer.quirk("thinking_content") {
            let value = format!(r#"{{"thinking_block":{{"content":{}}}}}"#, json!(thought));
            let data = writer.chunk(&[content(&block(kind, "700", &value, false, ""))]);
            writer.say("STREAM_CHUNK", &data);
        } else if at % 3 == 0 || answer.quirk("chunks") {
            let piece = block(10000, "701", &text(thought), false, THOUGHTS);
            let data = writer.chunk(&[content(&piece)]);
            writer.say("STREAM_CHUNK", &data);
        } else {
            writer.say("CHUNK_DELTA", &format!(r#"{{"text":{}}}"#, json!(thought)));
        }
    }
    if !answer.quirk("thinking_content") {
        let data = writer.chunk(&[content(&block(10000, "701", CLOSED, true, THOUGHTS))]);
        writer.send("STREAM_CHUNK", &data);
    }
    let title = r#"{"thinking_block":{"finish_title":"已完成思考"}}"#;
    let data = writer.chunk(&[content(&block(kind, "700", title, true, ""))]);
    writer.send("STREAM_CHUNK", &data);
}

fn search(writer: &mut Writer<'_>, ask: &Ask, first: bool) {
    let cards = writer.answer.citations.iter().enumerate().map(|(at, page)| {
        format!(
            r#"{{"text_card":{{"title":{},"url":{},"summary":"摘要","sitename":"例站","index":{}}}}}"#,
            json!(page.title),
            json!(page.url),
            at + 1
        )
    });
    let cards: Vec<_> = cards.collect();
    let count = cards.len();
    let value = format!(
        r#"{{"search_query_result_block":{{"summary":"搜索 1 个关键词，参考 {count} 篇资料","queries":["天气"],"results":[{}]}}}}"#,
        cards.join(",")
    );
    let found = block(10025, "800", &value, true, "");
    if first {
        let data = writer.notify(&ask.bot, &found);
        writer.send("STREAM_MSG_NOTIFY", &data);
    }
    // It may come again.
    if !first || count > 1 {
        let data = writer.chunk(&[content(&found)]);
        writer.send("STREAM_CHUNK", &data);
    }
}

/// The text, in whatever ways it travels. `opened`: a message is there already.
fn say(writer: &mut Writer<'_>, ask: &Ask, pieces: &[String], opened: bool, whole: bool) {
    let answer = writer.answer;
    if !opened {
        let (first, kind) = match pieces.first() {
            _ if answer.quirk("tool_children") => {
                (r#"{"generic_tool_block":{}}"#.to_owned(), 10006)
            }
            Some(piece) => (text(piece), 10000),
            None => return,
        };
        let id = if kind == 10006 { "600" } else { "900" };
        let data = writer.notify(&ask.bot, &block(kind, id, &first, false, ""));
        match kind {
            10000 => writer.say("STREAM_MSG_NOTIFY", &data),
            _ => writer.send("STREAM_MSG_NOTIFY", &data),
        }
    } else if answer.quirk("tool_children") {
        let tool = block(10006, "600", r#"{"generic_tool_block":{}}"#, false, "");
        let data = writer.chunk(&[content(&tool)]);
        writer.send("STREAM_CHUNK", &data);
    }
    odd_blocks(writer);
    let more = match answer.quirk("tool_children") {
        true => r#","parent_id":"600""#,
        false => "",
    };
    let begun = usize::from(!opened && !answer.quirk("tool_children"));
    let mut said: String = pieces.iter().take(begun).map(String::as_str).collect();
    let held = usize::from(whole && answer.quirk("brief_rest") && pieces.len() > 1);
    let last = pieces.len().saturating_sub(1 + held);
    for (at, piece) in pieces.iter().enumerate().skip(begun) {
        if at + held >= pieces.len() && held > 0 {
            break;
        }
        said.push_str(piece);
        let middle = at > 0 && at == pieces.len() / 2;
        if middle && (answer.quirk("replace") || answer.quirk("rewritten")) {
            let anew = match answer.quirk("rewritten") {
                true => format!("{REWRITTEN}{said}"),
                false => said.clone(),
            };
            let data = writer.chunk(&[content(&patched(
                10000,
                "900",
                &text(&anew),
                false,
                2,
                more,
            ))]);
            writer.say("STREAM_CHUNK", &data);
            continue;
        }
        if answer.quirk("snapshot") {
            let all = block(10000, "900", &text(&said), false, more);
            let data = format!(
                r#"{{"message_snapshots":[{{"meta":{{"message_id":"{}"}},"content":{{"content_block":[{all}]}}}}],"next_seq":{at}}}"#,
                writer.ids.answer
            );
            writer.say("ASYNC_CHUNK_SNAPSHOT", &data);
            continue;
        }
        // After a block of another kind the channel has to be set; in between, as the sample mixes them.
        let sets = at == begun && (opened || begun == 0);
        let turn = (at + usize::from(begun == 0)) % 3 == 1;
        let chunk = sets || answer.quirk("chunks") || (turn && !answer.quirk("deltas"));
        if answer.quirk("patch_102") && !sets {
            let value = json!({"content": json!({"text": piece}).to_string()}).to_string();
            let data = writer.chunk(&[op(102, 1, &value)]);
            writer.say("STREAM_CHUNK", &data);
        } else if chunk {
            let mut ops = vec![
                content(&block(10000, "900", &text(piece), false, more)),
                speech(piece),
            ];
            if at == last && !opened {
                ops.push(op(50, 1, r#"{"ext":{"tea_tags_time_cost":"{}"}}"#));
            }
            let data = writer.chunk(&ops);
            writer.say("STREAM_CHUNK", &data);
        } else {
            writer.say("CHUNK_DELTA", &format!(r#"{{"text":{}}}"#, json!(piece)));
        }
        if at == 2 {
            writer.send("SSE_HEARTBEAT", "{}");
        }
    }
    if whole && !pieces.is_empty() {
        let data = writer.chunk(&[content(&block(10000, "900", CLOSED, true, more))]);
        writer.send("STREAM_CHUNK", &data);
    }
}

/// Blocks that nobody is to see.
fn odd_blocks(writer: &mut Writer<'_>) {
    if writer.answer.quirk("hidden_block") {
        let hidden = r#","control_info":{"is_visible":false}"#;
        let data = writer.chunk(&[content(&block(10000, "990", &text("hidden"), true, hidden))]);
        writer.send("STREAM_CHUNK", &data);
    }
    if writer.answer.quirk("unknown_events") {
        let odd = [
            block(
                10101,
                "991",
                r#"{"loading_block":{"text_loading":{"text":"x"}}}"#,
                true,
                "",
            ),
            block(
                10024,
                "992",
                r#"{"generic_tool_block":{"title":"x"}}"#,
                true,
                "",
            ),
            block(99999, "993", r#"{"sim_block":{"text":"x"}}"#, true, ""),
        ];
        let ops: Vec<_> = odd
            .iter()
            .map(|block| content(block))
            .chain([op(77, 1, "{}")])
            .collect();
        let data = writer.chunk(&ops);
        writer.send("STREAM_CHUNK", &data);
    }
}

fn closing(writer: &mut Writer<'_>, pieces: &[String], end: End) {
    let answer = writer.answer;
    match end {
        End::CutOff(_) => return,
        End::Bad(_) => return writer.send("STREAM_CHUNK", "{\"patch_op"),
        End::Error(_, error) => {
            writer.send(error.event, &error.data());
            if error.event == "STREAM_MSG_ERROR" {
                writer.send("SSE_REPLY_END", r#"{"end_type":3}"#);
            }
            return;
        }
        End::Finished | End::Empty | End::Fetch => {}
    }
    let chunk = writer.chunk(&[op(3, 2, "{}"), op(50, 1, r#"{"ext":{"is_finish":"1"}}"#)]);
    writer.send("STREAM_CHUNK", &chunk);
    let said = pieces.concat();
    let brief: String = match answer.quirk("brief_short") {
        true => said.chars().take(3).collect(),
        false => said,
    };
    let data = format!(
        r#"{{"end_type":1,"msg_finish_attr":{{"msgid":"{}","badge_count":2,"brief":{}}}}}"#,
        writer.ids.answer,
        json!(brief)
    );
    writer.send("SSE_REPLY_END", &data);
    if answer.quirk("no_end_3") {
        return;
    }
    if !answer.quirk("no_suggest") {
        writer.send(
            "SSE_REPLY_END",
            r#"{"end_type":2,"answer_finish_attr":{"has_suggest":true}}"#,
        );
        let suggestions = writer.chunk(&[op(
            50,
            1,
            r#"{"ext":{"has_suggest":"1","sp_v2":"[{\"suggest_type\":1,\"content\":\"还有呢？\"}]"}}"#,
        )]);
        writer.send("STREAM_CHUNK", &suggestions);
    }
    writer.send("SSE_REPLY_END", r#"{"end_type":3}"#);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Citation;

    fn ids() -> Ids {
        Ids {
            conversation: "38300000000000001".to_owned(),
            section: "38300000000000002".to_owned(),
            question: "38300000000000003".to_owned(),
            answer: "38300000000000004".to_owned(),
            index: 1,
        }
    }

    fn ask() -> Ask {
        Ask {
            prompt: "hi".to_owned(),
            bot: "7338286299411103781".to_owned(),
            local_message: "11111111-1111-4111-8111-111111111111".to_owned(),
            keys: vec!["b-1".to_owned()],
            ..Ask::default()
        }
    }

    /// The frames without their numbers, which jump.
    fn played(answer: &Answer) -> Vec<String> {
        acts(answer, &ask(), &ids(), End::Finished)
            .filter_map(|act| match act {
                Act::Send(bytes) | Act::Say(bytes) => {
                    let frame = String::from_utf8(bytes.to_vec()).unwrap();
                    Some(frame.split_once('\n').unwrap().1.to_owned())
                }
                Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
            })
            .collect()
    }

    fn answer(pieces: &[&str]) -> Answer {
        let mut answer = Answer::saying("");
        answer.text = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        answer
    }

    /// Sample 1 (§6.6).
    #[test]
    fn the_answer_is_sample_1() {
        let sample = [
            "event: SSE_HEARTBEAT\ndata: {}\n\n",
            "event: SSE_ACK\ndata: {\"query_list\":[{\"question_id\":\"38300000000000003\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"message_index\":1}],\"ack_client_meta\":{\"conversation_id\":\"38300000000000001\",\"conversation_type\":3,\"section_id\":\"38300000000000002\"},\"timeout_conf\":{\"answer_first_pending_time\":180000,\"packet_interval_time\":120000}}\n\n",
            "event: FULL_MSG_NOTIFY\ndata: {\"message\":{\"conversation_id\":\"38300000000000001\",\"message_id\":\"38300000000000003\",\"user_type\":1,\"content_type\":9999,\"content\":\"[{\\\"block_type\\\":10000,\\\"block_id\\\":\\\"b-1\\\",\\\"content\\\":{\\\"text_block\\\":{\\\"text\\\":\\\"hi\\\"}}}]\",\"index_in_conv\":1,\"content_block\":[{\"block_type\":10000,\"block_id\":\"b-1\",\"content\":{\"text_block\":{\"text\":\"hi\"}},\"is_finish\":false}],\"section_id\":\"38300000000000002\"}}\n\n",
            "event: STREAM_MSG_NOTIFY\ndata: {\"content\":{\"content_block\":[{\"block_type\":10000,\"block_id\":\"900\",\"content\":{\"text_block\":{\"text\":\"Hi\"}},\"is_finish\":false,\"patch_type\":1}],\"content_status\":100,\"ext\":{\"agent_name\":\"豆包\",\"model_type\":\"38\"},\"content_type\":9999},\"meta\":{\"message_id\":\"38300000000000004\",\"conversation_id\":\"38300000000000001\",\"section_id\":\"38300000000000002\",\"sender_id\":\"7338286299411103781\",\"user_type\":2,\"index_in_conv\":2,\"bot_reply_message_id\":\"38300000000000003\"}}\n\n",
            "event: STREAM_CHUNK\ndata: {\"message_id\":\"38300000000000004\",\"patch_op\":[{\"patch_object\":1,\"patch_type\":1,\"patch_value\":{\"content_block\":[{\"block_type\":10000,\"block_id\":\"900\",\"content\":{\"text_block\":{\"text\":\"! 👋\"}},\"is_finish\":false,\"patch_type\":1}]}},{\"patch_object\":111,\"patch_type\":1,\"patch_value\":{\"tts_content\":\"! 👋\"}}]}\n\n",
            "event: CHUNK_DELTA\ndata: {\"text\":\" 很高兴\"}\n\n",
            "event: SSE_HEARTBEAT\ndata: {}\n\n",
            "event: CHUNK_DELTA\ndata: {\"text\":\"见到你。\\n\"}\n\n",
            "event: STREAM_CHUNK\ndata: {\"message_id\":\"38300000000000004\",\"patch_op\":[{\"patch_object\":1,\"patch_type\":1,\"patch_value\":{\"content_block\":[{\"block_type\":10000,\"block_id\":\"900\",\"content\":{\"text_block\":{\"text\":\"再见\"}},\"is_finish\":false,\"patch_type\":1}]}},{\"patch_object\":111,\"patch_type\":1,\"patch_value\":{\"tts_content\":\"再见\"}},{\"patch_object\":50,\"patch_type\":1,\"patch_value\":{\"ext\":{\"tea_tags_time_cost\":\"{}\"}}}]}\n\n",
            "event: STREAM_CHUNK\ndata: {\"message_id\":\"38300000000000004\",\"patch_op\":[{\"patch_object\":1,\"patch_type\":1,\"patch_value\":{\"content_block\":[{\"block_type\":10000,\"block_id\":\"900\",\"content\":{\"text_block\":{}},\"is_finish\":true,\"patch_type\":1}]}}]}\n\n",
            "event: STREAM_CHUNK\ndata: {\"message_id\":\"38300000000000004\",\"patch_op\":[{\"patch_object\":3,\"patch_type\":2,\"patch_value\":{}},{\"patch_object\":50,\"patch_type\":1,\"patch_value\":{\"ext\":{\"is_finish\":\"1\"}}}]}\n\n",
            "event: SSE_REPLY_END\ndata: {\"end_type\":1,\"msg_finish_attr\":{\"msgid\":\"38300000000000004\",\"badge_count\":2,\"brief\":\"Hi! 👋 很高兴见到你。\\n再见\"}}\n\n",
            "event: SSE_REPLY_END\ndata: {\"end_type\":2,\"answer_finish_attr\":{\"has_suggest\":true}}\n\n",
            "event: STREAM_CHUNK\ndata: {\"message_id\":\"38300000000000004\",\"patch_op\":[{\"patch_object\":50,\"patch_type\":1,\"patch_value\":{\"ext\":{\"has_suggest\":\"1\",\"sp_v2\":\"[{\\\"suggest_type\\\":1,\\\"content\\\":\\\"还有呢？\\\"}]\"}}}]}\n\n",
            "event: SSE_REPLY_END\ndata: {\"end_type\":3}\n\n",
        ];
        let played = played(&answer(&["Hi", "! 👋", " 很高兴", "见到你。\n", "再见"]));
        assert_eq!(played, sample);
    }

    /// Sample 2 (§6.6), from the first thought to the end of the text.
    #[test]
    fn thoughts_and_sources_are_those_of_sample_2() {
        let mut answer = answer(&["答", "案"]);
        answer.reasoning = vec!["先想".to_owned(), "一想".to_owned()];
        answer.citations = vec![Citation::new("https://example.com/1", "资料一")];
        let chunk = |block: &str, more: &str| {
            format!(
                "event: STREAM_CHUNK\ndata: {{\"message_id\":\"38300000000000004\",\"patch_op\":[{{\"patch_object\":1,\"patch_type\":1,\"patch_value\":{{\"content_block\":[{block}]}}}}{more}]}}\n\n"
            )
        };
        let sample = [
            chunk(
                r#"{"block_type":10000,"block_id":"701","content":{"text_block":{"text":"先想"}},"is_finish":false,"patch_type":1,"parent_id":"700"}"#,
                "",
            ),
            "event: CHUNK_DELTA\ndata: {\"text\":\"一想\"}\n\n".to_owned(),
            chunk(
                r#"{"block_type":10000,"block_id":"701","content":{"text_block":{}},"is_finish":true,"patch_type":1,"parent_id":"700"}"#,
                "",
            ),
            chunk(
                r#"{"block_type":10040,"block_id":"700","content":{"thinking_block":{"finish_title":"已完成思考"}},"is_finish":true,"patch_type":1}"#,
                "",
            ),
            chunk(
                r#"{"block_type":10025,"block_id":"800","content":{"search_query_result_block":{"summary":"搜索 1 个关键词，参考 1 篇资料","queries":["天气"],"results":[{"text_card":{"title":"资料一","url":"https://example.com/1","summary":"摘要","sitename":"例站","index":1}}]}},"is_finish":true,"patch_type":1}"#,
                "",
            ),
            chunk(
                r#"{"block_type":10000,"block_id":"900","content":{"text_block":{"text":"答"}},"is_finish":false,"patch_type":1}"#,
                r#",{"patch_object":111,"patch_type":1,"patch_value":{"tts_content":"答"}}"#,
            ),
            "event: CHUNK_DELTA\ndata: {\"text\":\"案\"}\n\n".to_owned(),
            chunk(
                r#"{"block_type":10000,"block_id":"900","content":{"text_block":{}},"is_finish":true,"patch_type":1}"#,
                "",
            ),
        ];
        let played = played(&answer);
        assert_eq!(played.get(4..12).unwrap(), sample);
        assert!(played[3].contains(r#"{"thinking_block":{"streaming_title":"深度思考中"}}"#));
    }
}
