//! A door that does not exist.

use std::fmt::Write as _;

use bytes::BytesMut;

use super::super::{Item, Piece, Voice, Whole};
use crate::{
    chat::{FinishReason, Usage},
    http::error::ApiError,
};

/// A dialect as unlike OpenAI's as can be: numbered lines, blocks that open and close and never interleave, a beginning, an
/// end with the reason and the count, and a line for silence. So it needs what the doors to come need.
#[derive(Default)]
pub(super) struct Blocks {
    number: usize,
    /// Choice and name of the block that is open.
    open: Option<(usize, &'static str)>,
    reasons: Vec<FinishReason>,
}

impl Blocks {
    fn line(&mut self, out: &mut BytesMut, line: &str) {
        let _ = writeln!(out, "{} {line}", self.number);
        self.number += 1;
    }

    fn close(&mut self, out: &mut BytesMut) {
        if let Some((choice, name)) = self.open.take() {
            self.line(out, &format!("/{name} {choice}"));
        }
    }

    fn inside(&mut self, out: &mut BytesMut, block: (usize, &'static str), text: &str) {
        if self.open != Some(block) {
            self.close(out);
            self.open = Some(block);
            self.line(out, &format!("{} {}", block.1, block.0));
        }
        self.line(out, &format!("{text:?}"));
    }
}

impl Voice for Blocks {
    const NAME: &'static str = "blocks";

    fn piece_bytes(&self) -> usize {
        20
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.line(out, "begin");
    }

    fn piece(&mut self, out: &mut BytesMut, choice: usize, piece: Piece) {
        match piece {
            Piece::Text(text) => self.inside(out, (choice, "text"), &text),
            Piece::Reasoning(text) => self.inside(out, (choice, "thinking"), &text),
            Piece::ToolCall(call) => {
                if call.id.is_some() {
                    self.close(out);
                }
                self.inside(out, (choice, "call"), &call.arguments);
            }
            Piece::Finish(reason) => self.reasons.push(reason),
            // It has no words for them.
            Piece::Signature(_)
            | Piece::Sealed(_)
            | Piece::Sources(_)
            | Piece::Extra(_)
            | Piece::Logprobs(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut, usage: Usage) {
        self.close(out);
        let line = format!("end {:?} {}", self.reasons, usage.completion_tokens);
        self.line(out, &line);
    }

    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        self.close(out);
        let line = format!("broken {} {:?}", error.status.as_u16(), error.code);
        self.line(out, &line);
    }

    fn ping(&mut self, out: &mut BytesMut) {
        self.line(out, "wait");
    }

    fn whole(mut self, choices: Vec<Whole>, usage: Usage) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.begin(&mut out);
        for (index, choice) in choices.into_iter().enumerate() {
            for item in choice.items {
                let piece = match item {
                    Item::Text(text) => Piece::Text(text),
                    Item::Reasoning(text) => Piece::Reasoning(text),
                    Item::Signature(seal) => Piece::Signature(seal),
                    Item::Sealed(thought) => Piece::Sealed(thought),
                    Item::Call(call) => Piece::ToolCall(call),
                };
                self.piece(&mut out, index, piece);
            }
            self.reasons.extend(choice.finish);
        }
        self.finish(&mut out, usage);
        out.to_vec()
    }
}
