//! The service's count of tokens. Source: `wire/qwen_intl.md` section 7.1.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::Usage;

#[derive(Deserialize)]
struct Counted<'a> {
    #[serde(borrow, default)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens_details: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    reasoning_tokens: Option<&'a RawValue>,
}

/// `None` for anything but a count.
pub(super) fn usage(raw: &RawValue) -> Option<Usage> {
    let counted: Counted<'_> = serde_json::from_str(raw.get()).ok()?;
    let details = counted.output_tokens_details;
    let usage = Usage {
        prompt_tokens: number(counted.input_tokens),
        completion_tokens: number(counted.output_tokens),
        reasoning_tokens: number(details.and_then(|details| details.reasoning_tokens)),
        cached_tokens: 0,
    };
    // A frame with zeros comes before the count does.
    (usage != Usage::default()).then_some(usage)
}

/// Numbers are sometimes texts.
fn number(raw: Option<&RawValue>) -> u64 {
    let text = raw.map(RawValue::get).unwrap_or_default();
    // Wrong in any way is as good as missing: the last count counts (section 7.1).
    text.trim_matches('"').parse().unwrap_or_default()
}
