//! A text deep inside an argument, named by its path: `edits[0].new_text`. Source: tools.md section 4, "Deep text".

use std::collections::BTreeMap;

use super::super::{schema::Shape, tree::Tree};

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Element(usize),
}

/// Where in an argument a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The argument.
    pub(super) root: String,
    /// At least one.
    pub(super) steps: Vec<Step>,
}

/// How many steps a path has at most: as deep as values may be nested.
const MOST_STEPS: usize = super::super::json::MOST_DEPTH;

impl Path {
    /// Reads a path; `None` for a plain name, and for what is no path.
    pub(super) fn read(name: &str) -> Option<Self> {
        let split = name.find(['[', '.'])?;
        let (root, mut rest) = name.split_at(split);
        if root.is_empty() {
            return None;
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            // A path that is longer than values may be deep leads nowhere.
            if steps.len() == MOST_STEPS {
                return None;
            }
            if let Some(inside) = rest.strip_prefix('[') {
                let (index, after) = inside.split_once(']')?;
                steps.push(Step::Element(index.trim().parse().ok()?));
                rest = after;
            } else {
                let inside = rest.strip_prefix('.')?;
                let end = inside.find(['[', '.']).unwrap_or(inside.len());
                let (member, after) = inside.split_at(end);
                if member.is_empty() {
                    return None;
                }
                steps.push(Step::Member(member.to_owned()));
                rest = after;
            }
        }
        Some(Self {
            root: root.to_owned(),
            steps,
        })
    }

    /// Gives the members on the way the names that the schema has for them, and finds what the schema says about the place.
    pub(super) fn settle<'a>(&mut self, root: &'a Shape) -> Option<&'a Shape> {
        let mut shape = Some(root);
        for step in &mut self.steps {
            shape = match step {
                Step::Element(_) => shape.and_then(Shape::element),
                Step::Member(name) => {
                    let fields = shape.and_then(|shape| shape.fields.as_deref());
                    // By the names of the schema, so that `edits[0].newText` finds `new_text`.
                    if let Some(prop) = fields.and_then(|fields| fields.find_loosely(name)) {
                        name.clone_from(&prop.name);
                    }
                    shape.and_then(|shape| shape.member(name))
                }
            };
        }
        shape
    }
}

/// Values that were set by their paths, before they are one value. Lists are maps until then: their elements may come in
/// any order, and an index costs no more memory than the path it stands in.
#[derive(Debug)]
pub(super) enum Parts {
    Value(Tree),
    List(BTreeMap<usize, Self>),
    Object(Vec<(String, Self)>),
}

/// Why parts make no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gap {
    #[error("its element {0} is missing")]
    Missing(usize),
    #[error("it is given in parts that contradict each other")]
    Contradiction,
}

impl Parts {
    /// Parts of a value of which nothing is known but the first step into it.
    pub(super) fn of(first: &Step) -> Self {
        match first {
            Step::Member(_) => Self::Object(Vec::new()),
            Step::Element(_) => Self::List(BTreeMap::new()),
        }
    }

    /// Sets what stands at a place; the last value counts.
    pub(super) fn set(&mut self, steps: &[Step], value: Tree) -> Result<(), Gap> {
        let Some((step, rest)) = steps.split_first() else {
            *self = Self::Value(value);
            return Ok(());
        };
        let empty = || rest.first().map_or(Self::Value(Tree::Null), Self::of);
        // Reborrowed, so that `self` can be replaced by the first branch.
        let inside = match (&mut *self, step) {
            (Self::List(elements), Step::Element(index)) => {
                elements.entry(*index).or_insert_with(empty)
            }
            (Self::Object(members), Step::Member(name)) => {
                let known = members.iter().position(|(known, _)| known == name);
                let at = known.unwrap_or(members.len());
                if known.is_none() {
                    members.push((name.clone(), empty()));
                }
                match members.get_mut(at) {
                    Some((_, inside)) => inside,
                    None => return Err(Gap::Contradiction),
                }
            }
            // `a.b` and `a[0]`, or a value and a part of it.
            _ => return Err(Gap::Contradiction),
        };
        inside.set(rest, value)
    }

    /// The value, on top of what was given for it as a whole.
    pub(super) fn merged(self, base: Option<Tree>) -> Result<Tree, Gap> {
        match (self, base) {
            (Self::Value(value), _) => Ok(value),
            (Self::List(parts), base) => {
                let mut elements = match base {
                    None | Some(Tree::Null) => Vec::new(),
                    Some(Tree::List(elements)) => elements,
                    Some(_) => return Err(Gap::Contradiction),
                };
                for (index, parts) in parts {
                    // Only the next one: a gap would have to be filled with something that nobody has said.
                    if index > elements.len() {
                        return Err(Gap::Missing(elements.len()));
                    }
                    match elements.get_mut(index) {
                        Some(element) => *element = parts.merged(Some(std::mem::take(element)))?,
                        None => elements.push(parts.merged(None)?),
                    }
                }
                Ok(Tree::List(elements))
            }
            (Self::Object(parts), base) => {
                let mut members = match base {
                    None | Some(Tree::Null) => Vec::new(),
                    Some(Tree::Object(members)) => members,
                    Some(_) => return Err(Gap::Contradiction),
                };
                for (name, parts) in parts {
                    // The last of a name counts, as in [`Tree::get`].
                    match members.iter_mut().rev().find(|(known, _)| *known == name) {
                        Some((_, value)) => *value = parts.merged(Some(std::mem::take(value)))?,
                        None => members.push((name, parts.merged(None)?)),
                    }
                }
                Ok(Tree::Object(members))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_and_nothing_else() {
        let path = Path::read("edits[0].new_text").unwrap();
        assert_eq!(path.root, "edits");
        assert_eq!(
            path.steps,
            [Step::Element(0), Step::Member("new_text".to_owned())]
        );
        assert_eq!(Path::read("a.b[1][2]").unwrap().steps.len(), 3);
        for name in [
            "plain", "[0]", ".a", "a[", "a[x]", "a[-1]", "a..b", "a[0]b", "a.", "",
        ] {
            assert_eq!(Path::read(name), None, "{name}");
        }
    }

    #[test]
    fn a_gap_costs_nothing() {
        let mut parts = Parts::of(&Step::Element(0));
        let far = [Step::Element(usize::MAX), Step::Element(usize::MAX)];
        parts.set(&far, Tree::Null).unwrap();
        assert_eq!(parts.merged(None), Err(Gap::Missing(0)));
    }
}
