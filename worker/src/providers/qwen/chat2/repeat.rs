//! A wrong signature is answered with success and one fixed sentence, which nobody has recorded; it cannot be told from
//! an answer but by coming again. Three answers in a row that are one and the same sentence though the questions differ are
//! a reason to register anew. Source: `wire/qwen.md` section 11.9.
//!
//! A model may well answer three questions alike, and applications ask for labels again and again. So what is passed on is
//! passed on; only an apology that comes for the third time is held back and asked again with the new registration, and
//! stays a refusal until something else is said.

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
    /// The streak has led to another registration.
    was_tried: bool,
    /// An answer was held back, and none has begun since.
    is_refused: bool,
}

impl Repeats {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves these plain values in order.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The apology that would be one too many.
    pub(super) fn suspect(&self) -> Option<Arc<str>> {
        let state = self.state();
        // One before the last: the answer that is coming would be the third.
        let sentence = state.sentence.as_ref().filter(|_| state.count >= ENOUGH)?;
        // Only an apology is held back: a label that comes thrice is what was asked for.
        apologises(sentence).then(|| Arc::clone(sentence))
    }

    /// An answer was passed on; whether it is a reason to register anew.
    pub(super) fn heard(&self, question: &str, answer: &str) -> bool {
        // Blanks at the ends differ, the sentence does not.
        let answer = answer.trim();
        // Not the question itself: it may be long, and it is a client's.
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let question = hasher.finish();
        let mut state = self.state();
        // Another answer ends the streak, whatever was refused in between.
        if state.sentence.as_deref() != Some(answer) {
            *state = State {
                sentence: is_sentence(answer).then(|| answer.into()),
                count: 1,
                last_question: question,
                was_tried: false,
                is_refused: false,
            };
        } else if state.last_question != question {
            // The same question again is a client that repeats itself, and says nothing of the service.
            state.count = state.count.saturating_add(1);
            state.last_question = question;
        }
        let is_streak = state.sentence.is_some() && state.count > ENOUGH;
        // Once a streak: the next registration is made when the sentence comes on after it.
        is_streak && !std::mem::replace(&mut state.was_tried, true)
    }

    /// The apology has come again and was held back; whether that is a reason to register anew.
    pub(super) fn was_refused(&self) -> bool {
        // Once as well: of many turns that are held back at once, the first one registers.
        !std::mem::replace(&mut self.state().is_refused, true)
    }

    /// An answer has begun that is no excuse, whether or not somebody stays to hear its end.
    pub(super) fn was_answered(&self) {
        self.state().is_refused = false;
    }
}

fn apologises(answer: &str) -> bool {
    APOLOGIES.iter().any(|word| answer.starts_with(word))
}

/// Whether an answer could be the fixed sentence of a service.
fn is_sentence(answer: &str) -> bool {
    answer.len() <= MOST_BYTES
        && (answer.ends_with(SENTENCE_ENDS) || apologises(answer))
        // In characters: a Chinese sentence has few of them, and three times as many bytes.
        && answer.chars().nth(FEWEST_CHARS - 1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_equal_sentence_is_a_reason_and_still_an_answer() {
        let repeats = Repeats::default();
        for (question, answer, is_reason) in [
            ("a", "这个问题我回答不了。", false),
            ("a", "这个问题我回答不了。", false),
            ("b", "另外一个完整的句子。", false),
            ("c", "这个问题我回答不了。", false),
            ("d", "这个问题我回答不了。\n", false),
            ("e", "这个问题我回答不了。", true),
            // Once is enough.
            ("f", "这个问题我回答不了。", false),
        ] {
            assert_eq!(repeats.heard(question, answer), is_reason, "{question}");
            assert_eq!(repeats.suspect(), None, "{question}");
        }
    }

    #[test]
    fn the_third_equal_apology_is_held_back() {
        let repeats = Repeats::default();
        for question in ["a", "b"] {
            assert_eq!(repeats.suspect(), None);
            assert!(!repeats.heard(question, "抱歉，现在不行，请稍后再试。"));
        }
        assert!(repeats.suspect().is_some());
        assert!(repeats.was_refused() && !repeats.was_refused());
        assert!(repeats.suspect().is_some(), "until something else is said");
        repeats.was_answered();
        assert!(
            repeats.was_refused(),
            "a client that left has not heard the end"
        );
        repeats.heard("c", "好");
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
                assert!(!repeats.heard(question, answer), "{answer}");
                assert_eq!(repeats.suspect(), None, "{answer}");
            }
        }
    }

    #[test]
    fn a_long_answer_is_no_sentence() {
        let (repeats, long) = (Repeats::default(), "长".repeat(200));
        for question in ["a", "b", "c"] {
            assert!(!repeats.heard(question, &long));
        }
        assert_eq!(repeats.suspect(), None);
    }
}
