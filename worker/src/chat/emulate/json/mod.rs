//! Reads JSON that a model wrote: as it is where it is JSON, else mended where the meaning cannot change. Source:
//! tools.md section 8, step 4.
//!
//! What is mended: a byte order mark, one fence around the whole, commas before a closing bracket, single and curly
//! quotes, keys without quotes, `True False None`, bare words, line breaks and tabs and unknown escapes in strings,
//! comments, brackets that are not closed at the end or closed once too often there. What is not: an open string, a
//! missing comma or value.

mod reader;
mod scan;
mod text;

pub use reader::{Reading, Unreadable, read, read_exact};
pub use scan::Scan;
pub use text::is_number;
pub(super) use text::{is_of_word, string_at as string};

/// How deep values may be nested. Source: tools.md section 6, rule 12.
pub const MOST_DEPTH: usize = 64;
