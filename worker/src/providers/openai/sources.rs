//! The sources that search services send beside `choices`, in each of their shapes. Source: the public API references of
//! Perplexity (`citations`, `search_results`), Zhipu (`web_search`) and DashScope (`search_info`).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::chat::ChatEvent;

/// The members that hold sources.
const MEMBERS: &[&str] = &[
    "citations",
    "search_results",
    "web_search",
    "references",
    "sources",
];
/// Whether some of these members may name sources.
pub(super) fn are_in(members: &Map<String, Value>) -> bool {
    members.contains_key("search_info") || MEMBERS.iter().any(|name| members.contains_key(*name))
}

/// Most sources of one answer.
const MOST: usize = 1000;

/// What an answer has named so far; services repeat the list in every event.
#[derive(Debug, Default)]
pub(super) struct Sources {
    list: Vec<(String, String)>,
    /// Where in the list a URL is.
    places: HashMap<String, usize>,
    /// Members in which no source was found: passed on as they are.
    others: Map<String, Value>,
    /// How many have been told.
    told: usize,
}

impl Sources {
    /// Takes the members of a chunk or of a whole answer.
    pub(super) fn take(&mut self, members: &mut Map<String, Value>) {
        let nested = members
            // Taken out of the members: they are passed on as sources, or as they are.
            .get_mut("search_info")
            .and_then(Value::as_object_mut);
        let nested = nested.and_then(|info| info.remove("search_results"));
        let own = MEMBERS
            .iter()
            .filter_map(|&name| Some((name, members.remove(name)?)));
        for (name, value) in own.chain(nested.map(|list| ("search_results", list))) {
            // Empty lists come with every chunk of some servers.
            if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
                continue;
            }
            let before = self.others.len();
            let found = value.as_array().map(|list| list.iter().filter_map(source));
            let found: Vec<(String, String)> = found.into_iter().flatten().collect();
            // Bounded by the names: a member that repeats is one.
            if found.is_empty() && before < MEMBERS.len() {
                self.others.insert(name.to_owned(), value);
            }
            for (url, title) in found {
                self.add(url, title);
            }
        }
    }

    fn add(&mut self, url: String, title: String) {
        // By address: the same page is named by several searches.
        let known = self.places.get(&url).copied();
        if let Some(known) = known.and_then(|at| self.list.get_mut(at)) {
            if known.1.is_empty() {
                known.1 = title;
            }
        } else if self.list.len() < MOST {
            self.places.insert(url.clone(), self.list.len());
            self.list.push((url, title));
        }
    }

    /// The answer is about to finish: its sources, numbered as they came.
    pub(super) fn events(&mut self, events: &mut Vec<ChatEvent>) {
        // Only new ones: what was told is not told again.
        let new = self.list.iter().enumerate().skip(self.told);
        events.extend(new.map(|(at, (url, title))| ChatEvent::Citation {
            index: u32::try_from(at + 1).unwrap_or(u32::MAX),
            url: url.clone(),
            title: title.clone(),
        }));
        self.told = self.list.len();
        self.others_events(events);
    }

    /// The answer has finished, and more came with its usage: as annotations of their own.
    pub(super) fn late_events(&mut self, events: &mut Vec<ChatEvent>) {
        let new = self.list.iter().skip(self.told);
        let annotations: Vec<Value> = new
            .map(|(url, title)| json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": 0, "end_index": 0}}))
            .collect();
        self.told = self.list.len();
        if !annotations.is_empty() {
            let members = [("annotations".to_owned(), Value::Array(annotations))];
            events.push(ChatEvent::Extra(Map::from_iter(members)));
        }
        self.others_events(events);
    }

    fn others_events(&mut self, events: &mut Vec<ChatEvent>) {
        if !self.others.is_empty() {
            events.push(ChatEvent::Extra(std::mem::take(&mut self.others)));
        }
    }
}

/// URL and title of a source: a text, or an object.
fn source(value: &Value) -> Option<(String, String)> {
    let word = |names: &[&str]| {
        let word = |name: &&str| value.get(*name)?.as_str();
        names.iter().find_map(word).map(str::to_owned)
    };
    match value {
        Value::String(url) => Some((url.clone(), String::new())),
        Value::Object(members) => match members.get("url_citation") {
            Some(inner) => source(inner),
            None => Some((
                word(&["url", "link", "uri", "href"])?,
                word(&["title", "name"]).unwrap_or_default(),
            )),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}
