//! A wrong signature is answered with success and one fixed sentence, which nobody has recorded; it cannot be told from
//! an answer but by coming again. Three answers in a row that are equal to the byte though the questions differ are a
//! reason to register anew, and the third is not passed on but asked again. Source: `wire/qwen.md` section 11.9.
//!
//! A model may well answer three questions alike: with a label, a number, "yes". So only what is a whole sentence is
//! suspected, and one that comes again after the new registration is an answer, unless it is an apology: then it stays a
//! refusal until something else is said.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Answers in a row that make a sentence suspicious; the next one is the third.
const ENOUGH: u32 = 2;
/// Longer answers are no fixed sentence.
const MOST_BYTES: usize = 400;
/// Shorter ones are labels, numbers, "yes".
const FEWEST_CHARS: usize = 8;
/// What ends a sentence.
const SENTENCE_ENDS: &[char] = &['。', '！', '？', '…', '～', '.', '!', '?'];
/// How sentences begin that apologise.
const APOLOGIES: &[&str] = &[
    "抱歉",
    "很抱歉",
    "非常抱歉",
    "不好意思",
    "对不起",
    "Sorry",
    "sorry",
    "I'm sorry",
    "请稍后",
];

/// The last answers of the process.
#[derive(Debug, Default)]
pub(in crate::providers::qwen) struct Repeats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sentence: Option<Arc<str>>,
    /// How many different questions in a row it has answered.
    count: u32,
    last_question: u64,
    /// Another registration has been tried.
    was_tried: bool,
}

impl Repeats {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves these plain values in order.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sentence that would be one too many.
    pub(super) fn suspect(&self) -> Option<Arc<str>> {
        let state = self.state();
        let sentence = state.sentence.as_ref().filter(|_| state.count >= ENOUGH)?;
        (!state.was_tried || apologises(sentence)).then(|| Arc::clone(sentence))
    }

    /// An answer was passed on.
    pub(super) fn heard(&self, question: &str, answer: &str) {
        let answer = answer.trim();
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let question = hasher.finish();
        let mut state = self.state();
        if state.sentence.as_deref() != Some(answer) {
            *state = State {
                sentence: is_sentence(answer).then(|| answer.into()),
                count: 1,
                last_question: question,
                was_tried: false,
            };
        } else if state.last_question != question {
            state.count = state.count.saturating_add(1);
            state.last_question = question;
        }
    }

    /// The suspect has come again and was held back; whether that is a reason to register anew.
    pub(super) fn was_refused(&self) -> bool {
        !std::mem::replace(&mut self.state().was_tried, true)
    }
}

fn apologises(answer: &str) -> bool {
    APOLOGIES.iter().any(|word| answer.starts_with(word))
}

/// Whether an answer could be the fixed sentence of a service.
fn is_sentence(answer: &str) -> bool {
    answer.len() <= MOST_BYTES
        && (answer.ends_with(SENTENCE_ENDS) || apologises(answer))
        && answer.chars().nth(FEWEST_CHARS - 1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_equal_answer_to_another_question_is_suspect() {
        let repeats = Repeats::default();
        for (question, answer, is_suspect) in [
            ("a", "这个问题我回答不了。", false),
            ("a", "这个问题我回答不了。", false),
            ("b", "另外", false),
            ("c", "这个问题我回答不了。", false),
            ("d", "这个问题我回答不了。\n", true),
        ] {
            repeats.heard(question, answer);
            assert_eq!(repeats.suspect().is_some(), is_suspect, "{question}");
        }
        assert_eq!(repeats.suspect().as_deref(), Some("这个问题我回答不了。"));
        // Once is a reason; that it comes again is none, and it is an answer then.
        assert!(repeats.was_refused() && repeats.suspect().is_none());
        repeats.heard("e", "这个问题我回答不了。");
        assert_eq!(repeats.suspect(), None);
        for question in ["f", "g"] {
            repeats.heard(question, "抱歉，现在不行。");
        }
        assert!(repeats.was_refused() && !repeats.was_refused());
        assert_eq!(repeats.suspect().as_deref(), Some("抱歉，现在不行。"));
        repeats.heard("h", "好");
        assert_eq!(repeats.suspect(), None);
    }

    /// Labels, numbers and short words are what applications ask for again and again.
    #[test]
    fn labels_are_answers_however_often_they_come() {
        for answer in [
            "done",
            "positive",
            "42",
            "是",
            "你好。",
            "the same label again",
        ] {
            let repeats = Repeats::default();
            for question in ["a", "b", "c", "d"] {
                repeats.heard(question, answer);
                assert_eq!(repeats.suspect(), None, "{answer}");
            }
        }
    }

    #[test]
    fn a_long_answer_is_no_sentence() {
        let (repeats, long) = (Repeats::default(), "长".repeat(200));
        for question in ["a", "b", "c"] {
            repeats.heard(question, &long);
        }
        assert_eq!(repeats.suspect(), None);
    }
}
