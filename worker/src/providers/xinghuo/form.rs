//! The two forms of a question, and which of them an account's service understands: today's, and the classic one with a
//! GtToken. Source: `wire/xinghuo.md` sections 1, 2 and 4.3.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::settings::{Problems, Vars};

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With `options`, `firstChat` and `showType`, without a GtToken.
    Spark,
    /// With `capabilities` and GtToken, which may be empty.
    Classic,
}

impl Form {
    /// The one that is tried when this one is not understood.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Spark => Self::Classic,
            Self::Classic => Self::Spark,
        }
    }
}

/// `XINGHUO_FORM`: one form and no other, or (`None`) what the account's variables and the service's answers say.
pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Option<Form> {
    match vars.get("XINGHUO_FORM").map(str::to_ascii_lowercase) {
        None => None,
        Some(word) => match word.as_str() {
            "auto" => None,
            "spark" => Some(Form::Spark),
            "classic" => Some(Form::Classic),
            _ => {
                problems.push("XINGHUO_FORM must be one of: auto, spark, classic".to_owned());
                None
            }
        },
    }
}

/// The form that has last been answered. No part of what an account is, so all are equal.
#[derive(Clone, Default)]
pub(super) struct Answered(Arc<AtomicU8>);

impl Answered {
    pub(super) fn get(&self) -> Option<Form> {
        // Relaxed: an old reading asks in a form that may not be understood, which costs one call.
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Form::Spark),
            2 => Some(Form::Classic),
            _ => None,
        }
    }

    pub(super) fn set(&self, form: Form) {
        let code = match form {
            Form::Spark => 1,
            Form::Classic => 2,
        };
        self.0.store(code, Ordering::Relaxed);
    }
}

impl PartialEq for Answered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Answered {}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
