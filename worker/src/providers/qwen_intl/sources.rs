//! The pages that a search has found. Source: `wire/qwen_intl.md` section 7.1, `web_search`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{chat::ChatEvent, upstream::json};

/// A list of more pages is none.
const MOST: usize = 200;

/// Each page once, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Page>);

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    url: String,
    #[serde(default)]
    title: Option<String>,
}

#[derive(Default, Deserialize)]
struct Extra {
    web_search_info: Option<Vec<Page>>,
    tool_result: Option<Found>,
}

#[derive(Deserialize)]
struct Found {
    docs: Option<Vec<Page>>,
}

impl Sources {
    /// The pages of a frame, in either of their places.
    pub(super) fn add(&mut self, extra: Option<&RawValue>) {
        // An empty text is no JSON, and so no pages.
        let extra = extra.map(RawValue::get).unwrap_or_default();
        let extra: Extra = serde_json::from_str(extra).unwrap_or_default();
        let newer = extra.tool_result.and_then(|found| found.docs);
        for page in [extra.web_search_info, newer]
            .into_iter()
            .flatten()
            .flatten()
        {
            // Up to 200 by 200: a hash set would cost more.
            let is_known = self.0.iter().any(|known| known.url == page.url);
            if !page.url.is_empty() && !is_known && self.0.len() < MOST {
                self.0.push(page);
            }
        }
    }

    /// Tells of all of them.
    pub(super) fn tell(&mut self, events: &mut Vec<ChatEvent>) {
        // From 1, as the answer's marks count; drained, so that they are told once.
        for (index, page) in (1..).zip(self.0.drain(..)) {
            events.push(ChatEvent::Citation {
                index,
                title: json::whole(&page.title.unwrap_or_default()),
                url: page.url,
            });
        }
    }
}
