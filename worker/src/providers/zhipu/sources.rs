//! What a search has found: the sources of an answer. Source: `wire/zhipu.md` section 6.2, `quote_result`.

use serde::Deserialize;

use crate::chat::ChatEvent;

/// More than any answer rests on.
const MOST_SOURCES: usize = 200;

/// The `meta_data` of a part that has found something, in its older and its newer form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Found {
    metadata_list: Option<Vec<Source>>,
    tool_result_extra: Option<Extra>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extra {
    search_results: Option<Vec<Source>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    title: Option<String>,
    url: Option<String>,
}

/// The sources, each once, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<(String, String)>);

impl Sources {
    /// Adds what a part has found; one that cannot be read has found nothing.
    pub(super) fn add(&mut self, meta_data: &str) {
        let Ok(found) = serde_json::from_str::<Found>(meta_data) else {
            return;
        };
        let newer = found.tool_result_extra.and_then(|it| it.search_results);
        let all = found.metadata_list.into_iter().chain(newer).flatten();
        for source in all {
            let Some(url) = source.url.filter(|url| !url.is_empty()) else {
                continue;
            };
            let is_known = self.0.iter().any(|(known, _)| *known == url);
            if !is_known && self.0.len() < MOST_SOURCES {
                self.0.push((url, source.title.unwrap_or_default()));
            }
        }
    }

    /// All of them as events, numbered from 1.
    pub(super) fn tell(&mut self, events: &mut Vec<ChatEvent>) {
        for (index, (url, title)) in (1..).zip(std::mem::take(&mut self.0)) {
            events.push(ChatEvent::Citation { index, url, title });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_each_source_once() {
        let mut sources = Sources::default();
        for found in [
            r#"{"metadata_list":[{"title":"甲","url":"https://e/a"},{"url":"https://e/b","title":null},{"title":"no address"}]}"#,
            r#"{"metadata_list":null,"tool_result_extra":{"search_results":[{"url":"https://e/a","title":"again"},{"url":"https://e/c","title":"丙","snippet":"x","host_name":"e"}]}}"#,
            "[]",
            "{}",
            r#"{"metadata_list":5}"#,
            "null",
        ] {
            sources.add(found);
        }
        let mut events = Vec::new();
        sources.tell(&mut events);
        let citation = |index, url: &str, title: &str| ChatEvent::Citation {
            index,
            url: url.to_owned(),
            title: title.to_owned(),
        };
        assert_eq!(
            events,
            [
                citation(1, "https://e/a", "甲"),
                citation(2, "https://e/b", ""),
                citation(3, "https://e/c", "丙")
            ]
        );
    }
}
