//! What calls look like in the dialects that have JSON or marks of a template in them; those in tags are one family with
//! ours (`decoder/lex.rs`). Source: tools.md section 7.

pub(super) mod json;
pub(super) mod marks;
