//! From a question to an answer: the directives that a prompt may hold, and the friendly answer without any.
//!
//! Only the last user turn is read. Before the first `echo:` it may say, in any order:
//!
//! - `think:REASON` – thoughts before the answer, up to the next directive;
//! - `count:N`, `tag:NAME` – the answer is `1 2 … N`, or `NAME-1 NAME-2 … NAME-N`, a piece each;
//! - `draw:N` (or the word 画) – pictures;
//! - `cite:N` – references;
//! - `pace:MS` – the pause before each piece.
//!
//! Everything after the first `echo:` is the answer, byte for byte. Where the gateway tells of tools, everything after the
//! first `call:` is an answer in the notation of [`super::calls`]; to a turn that begins with results the answer is the first
//! of them.

use std::time::Duration;

use super::{
    Script, calls,
    control::Control,
    pieces,
    reply::{Act, Acts},
    script::{Called, Citation},
};

/// A question as a simulator understood it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// The text of the last user turn.
    pub(super) text: &'a str,
    pub(super) model: &'a str,
    pub(super) thinking: bool,
    pub(super) search: bool,
    /// The simulator's own address, for pictures.
    pub(super) base: &'a str,
}

/// An answer, before a service dresses it in its own words.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) reasoning: Vec<String>,
    pub(super) text: Vec<String>,
    pub(super) citations: Vec<Citation>,
    pub(super) images: Vec<String>,
    /// What a script has it call; `None`: what a model would.
    pub(super) calls: Option<Vec<Called>>,
    pub(super) pace: Duration,
    pub(super) raw: Option<String>,
    /// The text was asked for to the letter: not the friendly answer.
    pub(super) exact: bool,
    write_bytes: Option<usize>,
    quirks: Vec<String>,
}

impl Answer {
    /// The next script where it says something, else the prompt's directives, else the friendly answer.
    pub(super) fn new(question: &Question<'_>, control: &Control) -> Self {
        let mark = calls::mark(question.text);
        let words = Question {
            text: calls::words(question.text),
            ..*question
        };
        let mut answer = Self::follow(&words, mark);
        answer.pace = pace(words.text).unwrap_or(control.pace);
        if let Some(mut script) = control.next_script() {
            if let Some(mark) = mark.filter(|_| script.notation) {
                let texts = script.text.iter_mut().chain(&mut script.reasoning);
                for text in texts.chain(script.pieces.iter_mut().flatten()) {
                    *text = calls::written(text, mark);
                }
            }
            answer.obey(script);
        }
        answer
    }

    /// An answer that no prompt and no script asked for.
    pub(super) fn saying(text: &str) -> Self {
        Self {
            text: vec![text.to_owned()],
            exact: true,
            ..Self::default()
        }
    }

    pub(super) fn quirk(&self, name: &str) -> bool {
        self.quirks.iter().any(|quirk| quirk == name)
    }

    /// Whether it was ordered to travel in small writes.
    pub(super) fn is_torn(&self) -> bool {
        self.write_bytes.is_some()
    }

    /// The acts as they travel: the recorded body if there is one, cut into writes if that was asked.
    pub(super) fn travel(&self, acts: Acts) -> Acts {
        let acts = match &self.raw {
            Some(raw) => Box::new([Act::say(raw), Act::Done].into_iter()),
            None => acts,
        };
        pieces::writes(acts, self.write_bytes)
    }

    /// The pause before a piece, and the piece.
    pub(super) fn paced(pace: Duration, act: Act) -> impl Iterator<Item = Act> + Send {
        let pause = (!pace.is_zero()).then_some(Act::Pause(pace));
        pause.into_iter().chain([act])
    }

    /// `mark`: that of calls, where tools are told of.
    fn follow(question: &Question<'_>, mark: Option<&str>) -> Self {
        if let Some(result) = calls::first_result(question.text) {
            return Self::saying(&format!("The first tool says: {result}"));
        }
        if let (Some(mark), Some(calls)) = (mark, directive(question.text, "call:")) {
            return Self::saying(&calls::written(calls, mark));
        }
        let (head, echo) = split_echo(question.text);
        let mut answer = Self::default();
        if let Some(reason) = directive(head, "think:") {
            answer.reasoning = pieces::cut(until_directive(reason).trim(), None);
        } else if question.thinking {
            answer.reasoning = pieces::cut(&thoughts(question), None);
        }
        let citations = number(head, "cite:").unwrap_or(if question.search { 2 } else { 0 });
        answer.citations = (1..=citations).map(citation).collect();
        let pictures = number(head, "draw:")
            .unwrap_or_else(|| usize::from(echo.is_none() && head.contains('画')));
        answer.images = (1..=pictures).map(|n| picture(question.base, n)).collect();
        let count = number(head, "count:");
        answer.exact = echo.is_some() || count.is_some();
        answer.text = match (echo, count) {
            (Some(echo), _) => pieces::cut(echo, None),
            (None, Some(n)) => pieces::count(n, directive(head, "tag:").map(word)),
            (None, None) => pieces::cut(&friendly(question, pictures), None),
        };
        answer
    }

    fn obey(&mut self, script: Script) {
        let cut = |text: &str| pieces::cut(text, script.piece_chars);
        if let Some(reasoning) = &script.reasoning {
            self.reasoning = cut(reasoning);
        } else if script.piece_chars.is_some() {
            self.reasoning = cut(&self.reasoning.concat());
        }
        self.exact |= script.text.is_some() || script.pieces.is_some();
        if script.calls.is_some() && script.text.is_none() {
            self.text.clear();
        }
        self.calls = script.calls;
        self.text = match (script.pieces, &script.text) {
            (Some(pieces), _) => pieces,
            (None, Some(text)) => cut(text),
            (None, None) if script.piece_chars.is_some() => cut(&self.text.concat()),
            (None, None) => std::mem::take(&mut self.text),
        };
        self.citations = script
            .citations
            .unwrap_or_else(|| std::mem::take(&mut self.citations));
        self.images = script
            .images
            .unwrap_or_else(|| std::mem::take(&mut self.images));
        self.pace = script.pace_ms.map_or(self.pace, Duration::from_millis);
        self.write_bytes = script.write_bytes;
        self.raw = script.raw;
        self.quirks = script.quirks;
    }
}

const DIRECTIVES: [&str; 6] = ["think:", "count:", "tag:", "draw:", "cite:", "pace:"];

fn split_echo(text: &str) -> (&str, Option<&str>) {
    text.split_once("echo:")
        .map_or((text, None), |(head, echo)| (head, Some(echo)))
}

/// What follows a directive.
fn directive<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split_once(name).map(|(_, rest)| rest)
}

fn until_directive(text: &str) -> &str {
    let end = DIRECTIVES.iter().filter_map(|name| text.find(name)).min();
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn number(head: &str, name: &str) -> Option<usize> {
    let rest = directive(head, name)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn pace(text: &str) -> Option<Duration> {
    let (head, _) = split_echo(text);
    number(head, "pace:")
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis)
}

fn citation(n: usize) -> Citation {
    Citation::new(
        &format!("https://example.com/{n}?q=a&b=1"),
        &format!("示例 {n}"),
    )
}

fn picture(base: &str, n: usize) -> String {
    // The query is as in the signed links of the services.
    format!("{base}/__sim/picture.png?authorization=a=&x_location=b&n={n}")
}

fn thoughts(question: &Question<'_>) -> String {
    let length = question.text.chars().count();
    format!("用户写了 {length} 个字符。I should greet them, say who I am 🤔，再引用他们的问题。")
}

fn friendly(question: &Question<'_>, pictures: usize) -> String {
    let quote: String = question.text.chars().take(80).collect();
    let model = if question.model.is_empty() {
        "the default model"
    } else {
        question.model
    };
    let shown = if pictures > 0 {
        "这是为你画的图。"
    } else {
        ""
    };
    format!(
        "你好！👋 I am {model}, played by a hive2api simulator, so no real model was asked. 你问的是：“{quote}”。{shown}\n\n\
         Everything else is real: the request went through the gateway, 选了一个账号, opened a conversation and came back as a \
         stream 🌊. Say `echo:` and some text, and I repeat it; `count:50` makes me count. 祝你玩得开心！🎉",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str) -> Answer {
        let question = Question {
            text,
            model: "m-1",
            thinking: false,
            search: false,
            base: "http://sim",
        };
        Answer::follow(&question, None)
    }

    #[test]
    fn echo_is_byte_for_byte() {
        let odd = " data: x\n\n\"\\\u{2028}\u{200b}👩‍🚀 echo: count:3 \r\n";
        let answer = follow(&format!("please echo:{odd}"));
        assert_eq!(answer.text.concat(), odd);
        assert!(answer.reasoning.is_empty() && answer.images.is_empty());
    }

    #[test]
    fn directives_stand_before_the_echo() {
        let answer = follow("think: let me see cite:1 draw:2 echo:yes");
        assert_eq!(answer.reasoning.concat(), "let me see");
        assert_eq!(answer.text.concat(), "yes");
        assert_eq!((answer.citations.len(), answer.images.len()), (1, 2));
        assert_eq!(follow("tag:XYZ count:2").text, ["XYZ-1", " XYZ-2"]);
        assert_eq!(pace("pace:20 count:2"), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_friendly_answer_names_model_and_question() {
        let question = "为什么天空是蓝色的？".repeat(20);
        let text = follow(&question).text.concat();
        let quote: String = question.chars().take(80).collect();
        assert!(text.contains("m-1") && text.contains(&quote));
    }
}
