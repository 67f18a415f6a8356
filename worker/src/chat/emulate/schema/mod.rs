//! The tools of a request, read once into what their signatures, the decoder and the repair of arguments need: for each
//! argument whether it is text, which types it may have, and what stands below it. What a schema says beyond that is for
//! the validator alone ([`super::verdict`]). Source: tools.md sections 4, 8 and 9.

mod fields;
mod reader;
mod refusal;
mod shape;
#[cfg(test)]
mod tests;
mod tools;

pub use fields::{Fields, Prop, Rest};
pub(super) use reader::shape as shape_of;
pub use refusal::Refusal;
pub use shape::{Kind, Shape, Types};
pub use tools::{CUSTOM_INPUT, Must, Offered, OfferedTool, loose_name};

/// Most bytes of one schema, and of all. Source: tools.md section 9.
pub const MOST_SCHEMA_BYTES: usize = 256 << 10;
/// As [`MOST_SCHEMA_BYTES`], of all tools.
pub const MOST_SCHEMAS_BYTES: usize = 2 << 20;
/// Most tools of a request. Source: tools.md section 9.
pub const MOST_TOOLS: usize = 512;
/// Most characters of a tool's name. Source: tools.md section 9.
pub const MOST_NAME: usize = 128;
