//! Reading a body: what all dialects have in common. A body is JSON in UTF-8 with one object; whatever JSON allows and
//! readers differ over is put right once ([`tidy`]), a wrong type is named, and texts share the body ([`text::reading`]).

mod loose;
mod member;
pub(super) mod tidy;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;

use crate::chat::{Invalid, text};

pub(super) use loose::{Passed, Word};
pub(super) use member::Member;

/// Most characters of the caller's that an error repeats.
const MOST_QUOTED: usize = 100;

/// A dialect's body.
pub(super) trait Form {
    /// Its members. Types only: a body that is wrong is read twice, the second time to say where.
    type Body<'a>: Deserialize<'a>;
    /// What they mean.
    type Read;

    /// Checks the values, which have the right types. `text` is what they were read from.
    fn check(body: Self::Body<'_>, text: &ByteString) -> Result<Self::Read, Invalid>;
}

/// Reads and checks a body of at most so many messages, parts and tool calls.
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or what [`Form::check`] finds.
pub(super) fn read<F: Form>(body: Bytes, most_pieces: usize) -> Result<F::Read, Invalid> {
    let mut body = ByteString::try_from(body).map_err(|error| Invalid {
        message: format!("The body is not UTF-8: {error}."),
        param: None,
        code: None,
    })?;
    // Some editors put a byte order mark in front of what they save; JSON has none.
    if let Some(rest) = body.strip_prefix('\u{FEFF}') {
        body = body.slice_ref(rest);
    }
    // First of all: a text that is passed over, or lent as it is written, would keep its half, and an upstream would refuse it.
    if tidy::has_half(&body)
        && let Some(tidied) = tidy::tidied(&body)
    {
        body = tidied.into();
    }
    // Only a body that is wrong is read a second time: put right where that is all it needs, else to say what is wrong.
    match parse::<F>(&body, most_pieces) {
        Ok(request) => return Ok(request),
        Err(Refused::Value(invalid)) => return Err(invalid),
        Err(Refused::Form) => {}
    }
    match tidy::tidied(&body).map(ByteString::from) {
        None => Err(complaint::<F>(&body, most_pieces)),
        Some(body) => match parse::<F>(&body, most_pieces) {
            Ok(request) => Ok(request),
            Err(Refused::Value(invalid)) => Err(invalid),
            Err(Refused::Form) => Err(complaint::<F>(&body, most_pieces)),
        },
    }
}

/// Why a body was not taken.
enum Refused {
    /// It has the right form.
    Value(Invalid),
    /// JSON or types; a second reading says where.
    Form,
}

fn parse<F: Form>(body: &ByteString, most_pieces: usize) -> Result<F::Read, Refused> {
    match text::reading(body, most_pieces, serde_json::from_str::<F::Body<'_>>) {
        // serde would also take the fields' values as an array.
        Ok(fields) if body.trim_start().starts_with('{') => {
            F::check(fields, body).map_err(Refused::Value)
        }
        Ok(_) => Err(Refused::Value(not_an_object("line 1 column 1"))),
        Err(_) => Err(Refused::Form),
    }
}

fn complaint<F: Form>(body: &ByteString, most_pieces: usize) -> Invalid {
    text::reading(body, most_pieces, |body| {
        let mut json = serde_json::Deserializer::from_str(body);
        match serde_path_to_error::deserialize::<_, F::Body<'_>>(&mut json) {
            Err(error) => explain(&error),
            // Its types are right, so it was what the reader of one value does not see.
            Ok(_) => Invalid {
                message: "The body holds something after the JSON object.".to_owned(),
                param: None,
                code: None,
            },
        }
    })
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Invalid {
    let path = quoted(&error.path().to_string());
    let inner = error.inner();
    let words = inner.to_string();
    if inner.is_data() && path != "." {
        // serde's own words ("invalid type: integer `5`, expected a string at line 1 column 20"), less the place.
        let words = words
            .rsplit_once(" at line ")
            .map_or(&*words, |(words, _)| words);
        return Invalid::field(
            &path,
            format!("Invalid value for '{path}': {}.", quoted(words)),
        );
    }
    let place = format!("line {} column {}", inner.line(), inner.column());
    if words.starts_with("recursion limit") {
        return Invalid {
            message: format!("The body is nested too deeply ({place})."),
            param: None,
            code: None,
        };
    }
    not_an_object(&place)
}

/// What may be as long as the caller likes, shortened in its middle, as the end is ours.
pub(super) fn quoted(text: &str) -> String {
    let count = text.chars().count();
    if count <= MOST_QUOTED {
        return text.to_owned();
    }
    let half = MOST_QUOTED / 2;
    let (head, tail) = (text.chars().take(half), text.chars().skip(count - half));
    head.chain(['…']).chain(tail).collect()
}

fn not_an_object(place: &str) -> Invalid {
    Invalid {
        message: format!("The body is not a valid JSON object ({place})."),
        param: None,
        code: None,
    }
}
