//! The answer of `/samantha/chat/completion`. Source: wire/doubao.md §6.7.

use serde_json::{Value, json};

use super::{ask::Ask, chats::Ids, refusal::samantha_frame, stream::End};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// What the frames of one answer have in common.
struct Writer<'a> {
    answer: &'a Answer,
    ask: &'a Ask,
    ids: &'a Ids,
    message: &'a str,
    id: usize,
    acts: Vec<Act>,
}

impl Writer<'_> {
    fn frame(&mut self, kind: u32, data: &str) -> String {
        let frame = samantha_frame(self.id, kind, data);
        self.id += 1;
        match self.answer.quirk("crlf") {
            true => frame.replace('\n', "\r\n"),
            false => frame,
        }
    }

    fn send(&mut self, kind: u32, data: &str) {
        let frame = self.frame(kind, data);
        self.acts.push(Act::send(frame));
    }

    /// A message; its content is a JSON text. The member order is that of sample 5.
    fn message(&self, kind: u32, content: &str, more: &str) -> String {
        let Ids {
            conversation,
            section,
            question,
            answer,
            index,
        } = self.ids;
        format!(
            r#"{{"message":{{"content_type":{kind},"content":{},"id":"{}"}},"message_id":"{answer}","local_message_id":"{}","conversation_id":"{conversation}","local_conversation_id":"{}","section_id":"{section}","reply_id":"{question}","is_delta":true,"status":4,"input_content_type":2001,"message_index":{},"bot_id":"{}"{more}}}"#,
            json!(content),
            self.message,
            self.ask.local_message,
            self.ask.local_conversation,
            index + 1,
            self.ask.bot
        )
    }

    fn say(&mut self, kind: u32, content: &str) {
        let data = self.message(kind, content, "");
        let act = Act::say(self.frame(2001, &data));
        self.acts.extend(Answer::paced(self.answer.pace, act));
    }

    fn note(&mut self, kind: u32, content: &str) {
        let data = self.message(kind, content, "");
        self.send(2001, &data);
    }
}

fn text(said: &str) -> String {
    format!(r#"{{"text":{}}}"#, json!(said))
}

/// The answer to a question; `message` is the id inside of it.
pub(super) fn acts(answer: &Answer, ask: &Ask, ids: &Ids, message: &str, end: End) -> Acts {
    let mut writer = Writer {
        answer,
        ask,
        ids,
        message,
        id: 0,
        acts: Vec::new(),
    };
    let start = format!(
        r#"{{"message_id":"{}","local_message_id":"{}","conversation_id":"{}","local_conversation_id":"{}","section_id":"{}","message_index":{},"conversation_type":5}}"#,
        ids.question,
        ask.local_message,
        ids.conversation,
        ask.local_conversation,
        ids.section,
        ids.index
    );
    writer.send(2002, &start);
    writer.send(
        2010,
        r#"{"type":"seed_intention","seed_intention":{"intention":"seed_main","detail":"default"}}"#,
    );
    let total = end.pieces().unwrap_or(usize::MAX).min(answer.text.len());
    let pieces = answer.text.get(..total).unwrap_or_default();
    let thinks = !answer.reasoning.is_empty() && end.pieces() != Some(0);
    // Both channels use the newer number where there are two.
    let kind = if thinks { 10000 } else { 2001 };
    if thinks {
        writer.note(10040, r#"{"finish_title":"深度思考中"}"#);
        for thought in &answer.reasoning {
            writer.say(kind, &text(thought));
        }
        writer.note(10040, r#"{"finish_title":"已完成思考"}"#);
    }
    if end == End::Finished && !answer.citations.is_empty() {
        let cards = answer.citations.iter().map(
            |page| json!({"text_card": {"title": page.title, "url": page.url, "sitename": "例站"}}),
        );
        let found = json!({"results": cards.collect::<Vec<_>>()}).to_string();
        writer.note(10025, &found);
    }
    for piece in pieces {
        writer.say(kind, &text(piece));
    }
    if end == End::Finished && !answer.images.is_empty() {
        let images = answer.images.iter().enumerate().map(|(at, url)| {
            let url = json!({"url": url});
            json!({"image": {"key": format!("sim/{at}.png"), "status": 2, "image_raw": url, "image_thumb": url, "image_ori": url}})
        });
        let made = json!({"creations": images.collect::<Vec<_>>()}).to_string();
        writer.say(2074, &made);
    }
    writer.acts.push(Act::Done);
    match end {
        End::CutOff(_) => {}
        End::Bad(_) => writer.acts.push(Act::send("data: {\"event_data\":\"{\n\n")),
        End::Error(_, error) => writer.send(2005, &error.samantha()),
        End::Finished | End::Empty | End::Fetch => {
            let said = Value::from(pieces.concat());
            let more = format!(r#","is_finish":true,"has_suggest":true,"tts_content":{said}"#);
            let last = writer.message(kind, "{}", &more);
            writer.send(2001, &last);
            if !answer.quirk("no_suggest") {
                writer.note(2002, r#"{"suggest":"还有呢？","suggestions":["还有呢？"]}"#);
            }
            writer.send(2003, "{}");
        }
    }
    Box::new(writer.acts.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample 5 (§6.7), event by event.
    #[test]
    fn the_answer_is_sample_5() {
        let mut answer = Answer::saying("");
        answer.text = vec!["Hello".to_owned(), " \"你\"😊".to_owned()];
        let ask = Ask {
            local_message: "11111111-1111-4111-8111-111111111111".to_owned(),
            local_conversation: "local_1612345678901234".to_owned(),
            bot: "7338286299411103781".to_owned(),
            ..Ask::default()
        };
        let ids = Ids {
            conversation: "38300000000000001".to_owned(),
            section: "38300000000000002".to_owned(),
            question: "38300000000000003".to_owned(),
            answer: "38300000000000004".to_owned(),
            index: 1,
        };
        let played: Vec<_> = acts(
            &answer,
            &ask,
            &ids,
            "22222222-2222-4222-8222-222222222222",
            End::Finished,
        )
        .filter_map(|act| match act {
            Act::Send(bytes) | Act::Say(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
        })
        .collect();
        let sample = [
            r#"data: {"event_data":"{\"message_id\":\"38300000000000003\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"conversation_id\":\"38300000000000001\",\"local_conversation_id\":\"local_1612345678901234\",\"section_id\":\"38300000000000002\",\"message_index\":1,\"conversation_type\":5}","event_id":"0","event_type":2002}"#,
            r#"data: {"event_data":"{\"type\":\"seed_intention\",\"seed_intention\":{\"intention\":\"seed_main\",\"detail\":\"default\"}}","event_id":"1","event_type":2010}"#,
            r#"data: {"event_data":"{\"message\":{\"content_type\":2001,\"content\":\"{\\\"text\\\":\\\"Hello\\\"}\",\"id\":\"22222222-2222-4222-8222-222222222222\"},\"message_id\":\"38300000000000004\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"conversation_id\":\"38300000000000001\",\"local_conversation_id\":\"local_1612345678901234\",\"section_id\":\"38300000000000002\",\"reply_id\":\"38300000000000003\",\"is_delta\":true,\"status\":4,\"input_content_type\":2001,\"message_index\":2,\"bot_id\":\"7338286299411103781\"}","event_id":"2","event_type":2001}"#,
            r#"data: {"event_data":"{\"message\":{\"content_type\":2001,\"content\":\"{\\\"text\\\":\\\" \\\\\\\"你\\\\\\\"😊\\\"}\",\"id\":\"22222222-2222-4222-8222-222222222222\"},\"message_id\":\"38300000000000004\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"conversation_id\":\"38300000000000001\",\"local_conversation_id\":\"local_1612345678901234\",\"section_id\":\"38300000000000002\",\"reply_id\":\"38300000000000003\",\"is_delta\":true,\"status\":4,\"input_content_type\":2001,\"message_index\":2,\"bot_id\":\"7338286299411103781\"}","event_id":"3","event_type":2001}"#,
            r#"data: {"event_data":"{\"message\":{\"content_type\":2001,\"content\":\"{}\",\"id\":\"22222222-2222-4222-8222-222222222222\"},\"message_id\":\"38300000000000004\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"conversation_id\":\"38300000000000001\",\"local_conversation_id\":\"local_1612345678901234\",\"section_id\":\"38300000000000002\",\"reply_id\":\"38300000000000003\",\"is_delta\":true,\"status\":4,\"input_content_type\":2001,\"message_index\":2,\"bot_id\":\"7338286299411103781\",\"is_finish\":true,\"has_suggest\":true,\"tts_content\":\"Hello \\\"你\\\"😊\"}","event_id":"4","event_type":2001}"#,
            r#"data: {"event_data":"{\"message\":{\"content_type\":2002,\"content\":\"{\\\"suggest\\\":\\\"还有呢？\\\",\\\"suggestions\\\":[\\\"还有呢？\\\"]}\",\"id\":\"22222222-2222-4222-8222-222222222222\"},\"message_id\":\"38300000000000004\",\"local_message_id\":\"11111111-1111-4111-8111-111111111111\",\"conversation_id\":\"38300000000000001\",\"local_conversation_id\":\"local_1612345678901234\",\"section_id\":\"38300000000000002\",\"reply_id\":\"38300000000000003\",\"is_delta\":true,\"status\":4,\"input_content_type\":2001,\"message_index\":2,\"bot_id\":\"7338286299411103781\"}","event_id":"5","event_type":2001}"#,
            r#"data: {"event_data":"{}","event_id":"6","event_type":2003}"#,
        ];
        assert_eq!(played, sample.map(|frame| format!("{frame}\n\n")));
    }
}
