//! YAML as a tree whose nodes know their lines. Scalars stay text: compose makes strings of them anyway.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Anchors are copied where they are named; this many nodes end that.
const MOST_NODES: usize = 100_000;
/// Nobody nests deeper, and what reads the tree goes down step by step.
const MOST_LEVELS: usize = 64;

/// A value and the line where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What the value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The text; `null` and nothing are `None`.
    Scalar(Option<String>),
    List(Vec<Node>),
    /// Keys with their lines, in order.
    Map(Vec<(String, usize, Node)>),
}

/// What is wrong with the file, and where.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
}

impl Node {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .rev()
            .find_map(|(name, _, node)| (name == key).then_some(node))
    }

    /// A map's entries; none where this is no map.
    pub(crate) fn entries(&self) -> &[(String, usize, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    /// A list's items; none where this is no list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Scalar(_) | Kind::Map(_) => &[],
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => text.as_deref(),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The text of a key's value.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }
}

/// Reads the first document of a file.
pub(crate) fn parse(text: &str) -> Result<Node, Malformed> {
    let mut loader = Loader::default();
    let mut line = 1;
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|error| Malformed {
            line: error.marker().line(),
        })?;
        line = span.start.line();
        if event == Event::DocumentEnd {
            break;
        }
        loader.take(event, line).ok_or(Malformed { line })?;
    }
    let empty = Node {
        line,
        kind: Kind::Map(Vec::new()),
    };
    Ok(loader.root.unwrap_or(empty))
}

/// A list or map that is being read: its anchor, its line, its items, and for maps the key that waits for its value.
struct Open {
    anchor: usize,
    node: Node,
    key: Option<(String, usize)>,
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Loader {
    /// `None`: this is no file that anybody wrote.
    fn take(&mut self, event: Event<'_>, line: usize) -> Option<()> {
        let begin = |anchor, kind| Open {
            anchor,
            node: Node { line, kind },
            key: None,
        };
        if self.open.len() > MOST_LEVELS {
            return None;
        }
        match event {
            Event::SequenceStart(anchor, _) => {
                self.open.push(begin(anchor, Kind::List(Vec::new())));
            }
            Event::MappingStart(anchor, _) => self.open.push(begin(anchor, Kind::Map(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => {
                let mut done = self.open.pop()?;
                settle(&mut done.node);
                self.put(done.anchor, done.node)?;
            }
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let kind = Kind::Scalar((!is_null).then(|| text.into_owned()));
                self.put(anchor, Node { line, kind })?;
            }
            Event::Alias(anchor) => {
                let named = self.anchors.get(&anchor)?;
                self.nodes += size(named);
                if self.nodes > MOST_NODES {
                    return None;
                }
                let mut node = named.clone();
                node.line = line;
                self.put(0, node)?;
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Some(())
    }

    fn put(&mut self, anchor: usize, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return None;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match (&mut parent.node.kind, parent.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((key, _))) if key == "<<" => merge(entries, node),
            (Kind::Map(entries), Some((key, line))) => entries.push((key, line, node)),
            (Kind::Map(_), None) => {
                parent.key = Some((node.text().unwrap_or_default().to_owned(), node.line));
            }
            (Kind::Scalar(_), _) => return None,
        }
        Some(())
    }
}

/// `<<: *anchor` or a list of them. Whoever stands last wins: the map's own keys follow, and the first of a list
/// beats the next.
fn merge(entries: &mut Vec<(String, usize, Node)>, from: Node) {
    match from.kind {
        Kind::Map(theirs) => drop(entries.splice(0..0, theirs)),
        Kind::List(maps) => maps.into_iter().for_each(|map| merge(entries, map)),
        Kind::Scalar(_) => {}
    }
}

/// Each key once, with its last value.
fn settle(node: &mut Node) {
    if let Kind::Map(entries) = &mut node.kind {
        let mut seen = HashSet::new();
        entries.reverse();
        entries.retain(|(key, _, _)| seen.insert(key.clone()));
        entries.reverse();
    }
}

/// How many nodes there are in it, itself included.
fn size(node: &Node) -> usize {
    let inside: usize = match &node.kind {
        Kind::Scalar(_) => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|(_, _, node)| size(node)).sum(),
    };
    inside + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_lines_and_text() {
        let root = parse("a:\n  - 08\n  - 'null'\n  - null\nb: {c: yes}\n").unwrap();
        let items = root.get("a").unwrap().items();
        let seen: Vec<_> = items.iter().map(|n| (n.line, n.text())).collect();
        assert_eq!(seen, [(2, Some("08")), (3, Some("null")), (4, None)]);
        assert_eq!(root.get("b").unwrap().text_of("c"), Some("yes"));
        assert_eq!(root.entries()[1].1, 5);
    }

    #[test]
    fn merges_anchors_below_the_maps_own_keys() {
        let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n";
        let root = parse(text).unwrap();
        let z = root.get("z").unwrap();
        let mut seen: Vec<_> = z
            .entries()
            .iter()
            .map(|(key, _, node)| (key.as_str(), node.text().unwrap()))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [("a", "3"), ("b", "1"), ("c", "2")]);
    }

    #[test]
    fn says_where_it_breaks_and_stops_at_bombs() {
        assert_eq!(parse("a: 1\nb: [\nc: }").unwrap_err().line, 3);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let names = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{names}]\n");
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).is_err());
    }
}
