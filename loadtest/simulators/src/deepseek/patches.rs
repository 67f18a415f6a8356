//! The writer of patches, which leaves out what the reader has kept. Source: wire/deepseek.md §6.

use serde_json::{Value, json};

use super::{
    message::{Fragment, Kind, Message},
    refusal::{close, error, event},
    stream::{End, updated},
};
use crate::{reply::Act, script::Citation};

/// What the filter says instead.
const TEMPLATE: &str = "你好，这个问题我暂时无法回答，让我们换个话题再聊聊吧。";
/// Seconds, as in sample B.
const THOUGHT_FOR: f64 = 1.116_876_777;

/// Writes patches, leaving out the path and op that the reader has kept.
pub(super) struct Patches<'a> {
    message: &'a Message,
    path: String,
    op: &'static str,
    pub(super) acts: Vec<Act>,
    /// How many fragments the client has been told of.
    fragments: usize,
    /// The last piece came in a BATCH because of a mark.
    marked: bool,
}

impl<'a> Patches<'a> {
    pub(super) fn new(message: &'a Message) -> Self {
        Self {
            message,
            path: String::new(),
            op: "SET",
            acts: Vec::new(),
            fragments: 0,
            marked: false,
        }
    }

    fn quirk(&self, name: &str) -> bool {
        self.message.answer.quirk(name)
    }

    /// One patch as it is written.
    fn patch(&mut self, path: &str, op: &'static str, value: &str) -> String {
        let verbose = self.quirk("verbose");
        let mut members = Vec::new();
        if verbose || self.path != path {
            members.push(format!(r#""p":"{path}""#));
        }
        // The captures repeat BATCH whenever its path is new.
        if verbose || self.op != op || (op == "BATCH" && self.path != path) {
            members.push(format!(r#""o":"{op}""#));
        }
        path.clone_into(&mut self.path);
        self.op = op;
        members.push(format!(r#""v":{value}"#));
        format!("data: {{{}}}\n\n", members.join(","))
    }

    fn send(&mut self, path: &str, op: &'static str, value: &Value) {
        let patch = self.patch(path, op, &value.to_string());
        self.acts.push(Act::send(patch));
    }

    fn say(&mut self, path: &str, op: &'static str, value: &Value) {
        let patch = self.patch(path, op, &value.to_string());
        self.pause();
        self.acts.push(Act::say(patch));
    }

    fn pause(&mut self) {
        let pace = self.message.answer.pace;
        if !pace.is_zero() {
            self.acts.push(Act::Pause(pace));
        }
    }

    /// The snapshot, and every piece from `from` up to `upto`.
    pub(super) fn tell(&mut self, from: usize, upto: usize) {
        let first = usize::from(from == 0 && upto > 0 && !self.quirk("empty_snapshot"));
        let shown = from + first;
        self.snapshot(shown, first == 1);
        let mut at = 0;
        for fragment in &self.message.fragments {
            let end = at + fragment.pieces.len();
            let known = at < shown;
            if !known {
                if at >= upto {
                    return;
                }
                self.open(fragment);
            }
            let told = if known {
                shown.saturating_sub(at)
            } else {
                usize::from(!fragment.pieces.is_empty())
            };
            for (number, piece) in fragment.pieces.iter().enumerate().skip(told) {
                if at + number >= upto {
                    return;
                }
                self.piece(fragment, number, piece);
            }
            if fragment.kind == Kind::Think && end > from {
                let path = self.path_of("elapsed_secs");
                self.send(&path, "SET", &json!(THOUGHT_FOR));
            }
            at = end;
        }
    }

    /// The first patch: the message with everything up to `shown`.
    fn snapshot(&mut self, shown: usize, is_new: bool) {
        let usage = if is_new { 0 } else { self.message.usage(shown) };
        let (message, fragments) = self.message_at(shown, usage, "WIP");
        self.fragments = fragments;
        let patch = format!("data: {{\"v\":{{\"response\":{message}}}}}\n\n");
        if is_new {
            self.pause();
            self.acts.push(Act::say(patch));
        } else {
            self.acts.push(Act::send(patch));
        }
    }

    /// The message as it stands after `shown` pieces, and how many fragments that is.
    fn message_at(&self, shown: usize, usage: usize, status: &str) -> (String, usize) {
        let mut at = 0;
        let mut fragments = Vec::new();
        for fragment in &self.message.fragments {
            if at >= shown {
                break;
            }
            let pieces = fragment.pieces.len().min(shown - at);
            let told: String = fragment.pieces.iter().take(pieces).cloned().collect();
            fragments.push(self.fragment(fragment, &told, "FINISHED"));
            at += fragment.pieces.len();
        }
        let (message, ask) = (self.message, &self.message.ask);
        let text = format!(
            "{{\"message_id\":{},\"parent_id\":{},\"model\":\"\",\"role\":\"ASSISTANT\",\
             \"thinking_enabled\":{},\"ban_edit\":false,\"ban_regenerate\":false,\"status\":\"{status}\",\"incomplete_message\":null,\
             \"accumulated_token_usage\":{usage},\"files\":[],\"feedback\":null,\"inserted_at\":1775278995.712322,\
             \"search_enabled\":{},\"fragments\":[{}],\"has_pending_fragment\":false,\"auto_continue\":false,\
             \"search_triggered\":false}}",
            message.response_id,
            message.request_id,
            ask.thinking,
            ask.search,
            fragments.join(","),
        );
        (text, fragments.len())
    }

    /// The whole message, as the service keeps it when it has ended.
    pub(super) fn whole(&self) -> Value {
        let status = self.message.status();
        let pieces = match status {
            "FINISHED" => self.message.pieces(),
            _ => self.message.said(),
        };
        let (text, _) = self.message_at(pieces, self.message.usage(pieces), status);
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A fragment as it is first told of.
    fn fragment(&self, fragment: &Fragment, content: &str, status: &str) -> String {
        let (id, kind) = (fragment.id, fragment.kind.name());
        let content = Value::from(content);
        let stage = usize::from(fragment.kind == Kind::Response && fragment.id > 2) + 1;
        let head = format!(r#""id":{id},"type":"{kind}""#);
        match fragment.kind {
            Kind::Think => format!(
                r#"{{{head},"content":{content},"elapsed_secs":null,"references":[],"stage_id":{stage}}}"#
            ),
            Kind::Response => {
                format!(r#"{{{head},"content":{content},"references":[],"stage_id":{stage}}}"#)
            }
            Kind::Search => {
                let results = if status == "WIP" {
                    json!([])
                } else {
                    self.results()
                };
                format!(
                    r#"{{{head},"status":"{status}","content":null,"queries":[{{"query":"q"}}],"results":{results},"stage_id":{stage}}}"#
                )
            }
            Kind::Open => format!(
                r#"{{{head},"status":"{status}","content":null,"result":null,"reference":null,"stage_id":{stage}}}"#
            ),
            Kind::Tip | Kind::Strange => format!(
                r#"{{{head},"content":"this is no text of the answer","style":"WARNING","hide_on_wip":true,"stage_id":{stage}}}"#
            ),
        }
    }

    fn results(&self) -> Value {
        let page = |page: &Citation| {
            let site = page.url.split('/').nth(2).unwrap_or_default();
            json!({
                "url": page.url, "title": page.title, "snippet": format!("{}…", page.title), "cite_index": null,
                "published_at": null, "site_icon": "", "site_name": site, "query_indexes": [0],
            })
        };
        self.message.answer.citations.iter().map(page).collect()
    }

    /// A fragment that was not in the snapshot, with its first piece.
    fn open(&mut self, fragment: &Fragment) {
        self.fragments += 1;
        let first = fragment.pieces.first().map(String::as_str);
        let told = self.fragment(fragment, first.unwrap_or_default(), "WIP");
        let patch = match fragment.kind {
            Kind::Search => {
                let items = format!(
                    r#"[{{"p":"fragments","o":"APPEND","v":[{told}]}},{{"p":"has_pending_fragment","o":"SET","v":false}}]"#
                );
                self.patch("response", "BATCH", &items)
            }
            Kind::Think | Kind::Open | Kind::Tip | Kind::Strange | Kind::Response => {
                self.patch("response/fragments", "APPEND", &format!("[{told}]"))
            }
        };
        self.pause();
        if first.is_some() {
            self.acts.push(Act::say(patch));
        } else {
            self.acts.push(Act::send(patch));
        }
        if fragment.kind == Kind::Search {
            // §6: the capture leaves the op out here, so a strict reader would keep BATCH.
            let path = self.path_of("results");
            let results = self.results();
            self.path.clone_from(&path);
            let patch = format!("data: {{\"p\":\"{path}\",\"v\":{results}}}\n\n");
            self.acts.push(Act::send(patch));
            let path = self.path_of("status");
            self.send(&path, "SET", &json!("FINISHED"));
        }
    }

    /// The path of a member of the last fragment.
    fn path_of(&self, member: &str) -> String {
        let at = if self.quirk("positive_indexes") {
            self.fragments.saturating_sub(1).to_string()
        } else {
            "-1".to_owned()
        };
        if member.is_empty() {
            format!("response/fragments/{at}")
        } else {
            format!("response/fragments/{at}/{member}")
        }
    }

    fn piece(&mut self, fragment: &Fragment, number: usize, piece: &str) {
        if self.quirk("noise") && number % 3 == 1 {
            self.noise();
        }
        let is_answer = fragment.kind == Kind::Response;
        let mark = is_answer && piece.starts_with("[reference:");
        if is_answer && (mark || self.marked || self.quirk("batches")) {
            let mut items = format!(
                r#"[{{"p":"content","o":"APPEND","v":{}}}"#,
                Value::from(piece)
            );
            if mark && !self.marked {
                let references = self.message.reference();
                items.push_str(&format!(
                    r#",{{"p":"references","o":"SET","v":{references}}}"#
                ));
            }
            items.push(']');
            let path = self.path_of("");
            let patch = self.patch(&path, "BATCH", &items);
            self.pause();
            self.acts.push(Act::say(patch));
            self.marked = mark;
            return;
        }
        if is_answer && number % 4 == 2 && self.quirk("bare_text") {
            let usage = json!(number);
            self.send("response/accumulated_token_usage", "SET", &usage);
            self.pause();
            self.acts.push(Act::say(format!(
                "data: {{\"v\":{}}}\n\n",
                Value::from(piece)
            )));
            return;
        }
        let path = self.path_of("content");
        self.say(&path, "APPEND", &Value::from(piece));
    }

    fn noise(&mut self) {
        let notice = json!({"type": "info", "content": "noise", "clear_response": false, "finish_reason": null});
        let noise = [
            ": keep-alive\n\n",
            "data: {}\n\n",
            "data: {\"p\":\n\n",
            "\n",
        ];
        self.acts.extend(noise.map(Act::send));
        self.acts
            .extend([event("toast", &notice), updated(1), event("hint", &notice)]);
    }

    /// Usage and status, as every ordered end has them.
    pub(super) fn status(&mut self, status: &str, said: usize) {
        let items = self.usage_items(status, said);
        let patch = self.patch("response", "BATCH", &items);
        self.acts.push(Act::send(patch));
        self.send("response/status", "SET", &json!(status));
    }

    fn usage_items(&self, quasi_status: &str, said: usize) -> String {
        let usage = self.message.usage(said);
        format!(
            r#"[{{"p":"accumulated_token_usage","v":{usage}}},{{"p":"quasi_status","v":"{quasi_status}"}}]"#
        )
    }

    pub(super) fn finish(&mut self, end: End, said: usize) {
        match end {
            End::Finished | End::Empty => self.status("FINISHED", said),
            End::Incomplete => self.status("INCOMPLETE", said),
            End::AutoContinue => {
                self.send("response/auto_continue", "SET", &json!(true));
                self.status("AUTO_CONTINUE", said);
            }
            End::Filtered(_) => self.filtered(said),
            End::Generation(_, content) => {
                self.status("INCOMPLETE", said);
                self.error("message", content, "generation_err");
                return;
            }
            End::Error(_, name, content, reason) => return self.error(name, content, reason),
            End::NoStatus | End::Refused(..) | End::Garbage => return,
        }
        if self.quirk("late_patches") {
            self.send("response/conversation_mode", "SET", &json!("DEFAULT"));
            self.send("response/has_pending_fragment", "SET", &json!(false));
        }
        self.acts.push(updated(2));
        if matches!(end, End::Finished | End::Empty) {
            let title = json!({"content": "FINISHED greetings"});
            self.acts.push(event("title", &title));
        }
        if self.quirk("finish_event") {
            self.acts.push(event("finish", &json!({})));
        }
        if !self.quirk("no_close") {
            self.acts.push(close("none"));
        }
        if self.quirk("done") {
            self.acts.push(Act::send("data: [DONE]\n\n"));
        }
    }

    /// The tail of the filter: the batch before it may have said FINISHED, and only the status decides.
    fn filtered(&mut self, said: usize) {
        let items = self.usage_items("FINISHED", said);
        let patch = self.patch("response", "BATCH", &items);
        self.acts.push(Act::send(patch));
        let tail = format!(
            r#"[{{"p":"ban_regenerate","v":true}},{{"p":"status","v":"CONTENT_FILTER"}},{{"p":"accumulated_token_usage","v":{}}},{{"p":"fragments","v":[{{"id":38,"type":"TEMPLATE_RESPONSE","content":"{TEMPLATE}"}}]}},{{"p":"quasi_status","v":"CONTENT_FILTER"}}]"#,
            self.message.usage(said)
        );
        let patch = self.patch("response", "BATCH", &tail);
        self.acts.push(Act::send(patch));
    }

    fn error(&mut self, name: &str, content: &str, reason: &str) {
        let data = error(content, reason);
        let act = match name {
            "message" => Act::send(format!("data: {data}\n\n")),
            name => event(name, &data),
        };
        self.acts.extend([act, close("retry")]);
    }
}
