//! Reads a JSON Schema into a [`Shape`]. Source: tools.md sections 4, 5 and 9.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::super::{
    json::{MOST_DEPTH, Unreadable, read_exact},
    tree::Tree,
};
use super::{
    fields::{Fields, Prop, Rest},
    refusal::Refusal,
    shape::{Shape, Types},
};

/// How deep a schema may lead back to itself before the rest is anything. Source: tools.md section 5.
const MOST_RECURSION: usize = 6;
/// Most shapes that are read through a `$ref`: one that is used in two places leads to two shapes, and those to four.
const MOST_SHAPES: usize = 4096;

/// Reads the schema of a tool's arguments.
///
/// # Errors
/// That it is none of an object, nested too deep, or leads elsewhere.
pub(super) fn params(json: &str) -> Result<Fields, Refusal> {
    let root = read_exact(json).map_err(|error| match error {
        Unreadable::TooDeep => Refusal::TooDeep,
        _ => Refusal::NoObject,
    })?;
    if !matches!(root, Tree::Object(_)) {
        return Err(Refusal::NoObject);
    }
    // Before it is read: the reader would take a reference that leads nowhere for anything.
    only_leads_here(&root)?;
    let shape = shape(&root);
    // Nothing said is taken for an object, as many authors leave it out.
    if !shape.types.is_empty() && !shape.types.has(Types::OBJECT) {
        return Err(Refusal::NoObject);
    }
    Ok(fields_of(shape))
}

/// Reads any schema.
pub(in super::super) fn shape(root: &Tree) -> Shape {
    let mut reader = Reader {
        root,
        refs: Vec::new(),
        shapes_left: MOST_SHAPES,
    };
    reader.shape(root)
}

/// Refuses a `$ref` to another document: nothing is fetched.
fn only_leads_here(schema: &Tree) -> Result<(), Refusal> {
    for (name, value) in schema.members() {
        match (name.as_str(), value) {
            ("$ref", Tree::Text(target)) if !target.starts_with('#') => {
                return Err(Refusal::Elsewhere);
            }
            // Values, not schemas: what looks like a reference in them is none.
            ("enum" | "const" | "default" | "examples" | "example", _) => {}
            _ => only_leads_here(value)?,
        }
    }
    schema.elements().iter().try_for_each(only_leads_here)
}

/// The members of an object; of a union of objects those of all, none of which must be there.
fn fields_of(shape: Shape) -> Fields {
    let mut props: Vec<Prop> = Vec::new();
    let mut rest = Rest::Any;
    if let Some(own) = shape.fields {
        (props, rest) = (own.props, own.rest);
    }
    for branch in shape.branches {
        let fields = fields_of(branch);
        // What one branch forbids another one may allow.
        rest = Rest::Any;
        for prop in fields.props {
            if props.iter().all(|known| known.name != prop.name) {
                props.push(Prop {
                    is_required: false,
                    ..prop
                });
            }
        }
    }
    Fields::new(props, rest)
}

struct Reader<'a> {
    root: &'a Tree,
    /// The references that lead to where it is.
    refs: Vec<&'a str>,
    shapes_left: usize,
}

impl<'a> Reader<'a> {
    fn shape(&mut self, schema: &'a Tree) -> Shape {
        let mut shape = self.own(schema);
        // References first, so that what stands beside one is laid over it (JSON Schema 2020-12 lets both hold).
        if let Some(Tree::Text(target)) = schema.get("$ref") {
            let other = self.referred(target);
            absorb(&mut shape, other);
        }
        for part in schema.get("allOf").into_iter().flat_map(Tree::elements) {
            let other = self.shape(part);
            absorb(&mut shape, other);
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(Tree::List(branches)) = schema.get(word) {
                let branches = branches.iter().map(|branch| self.shape(branch)).collect();
                unite(&mut shape, branches);
            }
        }
        // OpenAPI 3.0's word, which schemas that were made from one still have.
        if schema.get("nullable") == Some(&Tree::Bool(true)) && !shape.types.is_empty() {
            shape.types = shape.types.with(Types::NULL);
        }
        shape
    }

    /// What the schema says itself, but for its parts that are schemas of the same value.
    fn own(&mut self, schema: &'a Tree) -> Shape {
        let text = |name: &str| schema.get(name).and_then(Tree::as_text).map(str::to_owned);
        let number = |name: &str| match schema.get(name) {
            Some(Tree::Number(digits)) => Some(digits.clone()),
            _ => None,
        };
        let mut shape = Shape {
            types: types(schema),
            description: text("description"),
            literals: literals(schema),
            minimum: number("minimum"),
            maximum: number("maximum"),
            pattern: text("pattern"),
            ..Shape::default()
        };
        // A list of schemas (a tuple's) says nothing about all elements.
        if let Some(items @ Tree::Object(_)) = schema.get("items") {
            shape.items = Some(Box::new(self.shape(items)));
        }
        shape.fields = self.fields(schema).map(Box::new);
        if shape.types.is_empty() {
            // Authors leave the type out where the rest of the schema says it.
            let implied = shape.literals.iter().map(Types::of);
            shape.types = implied.fold(Types::default(), Types::with);
            if shape.fields.is_some() {
                shape.types = Types::OBJECT;
            } else if shape.items.is_some() {
                shape.types = Types::ARRAY;
            }
        }
        shape
    }

    fn fields(&mut self, schema: &'a Tree) -> Option<Fields> {
        let (properties, additional) =
            (schema.get("properties"), schema.get("additionalProperties"));
        let required = schema.get("required").map(Tree::elements);
        if properties.is_none() && additional.is_none() && schema.get("type").is_none() {
            return None;
        }
        // Members of what is no object are of no use to anybody.
        if !types(schema).is_empty() && !types(schema).has(Types::OBJECT) {
            return None;
        }
        let required: Vec<&str> = required
            .into_iter()
            .flatten()
            .filter_map(Tree::as_text)
            .collect();
        let mut props: Vec<Prop> = Vec::new();
        for (name, schema) in properties.into_iter().flat_map(Tree::members) {
            let shape = self.shape(schema);
            props.push(Prop {
                name: name.clone(),
                is_required: required.contains(&name.as_str()),
                shape,
            });
        }
        for name in required {
            // Of a member that must be there nothing else may be said.
            if schema
                .get("properties")
                .and_then(|known| known.get(name))
                .is_none()
            {
                props.push(Prop {
                    name: name.to_owned(),
                    is_required: true,
                    shape: Shape::default(),
                });
            }
        }
        let rest = match additional {
            // Names that fit a pattern are none of the additional ones, and this reader knows no patterns.
            _ if schema.get("patternProperties").is_some() => Rest::Any,
            Some(Tree::Bool(false)) => Rest::None,
            Some(other @ Tree::Object(_)) => Rest::Of(Box::new(self.shape(other))),
            _ => Rest::Any,
        };
        Some(Fields::new(props, rest))
    }

    /// What a reference leads to: anything, where it leads nowhere or back to itself too often.
    fn referred(&mut self, target: &'a str) -> Shape {
        let is_recursion = self.refs.contains(&target);
        let is_cut = (is_recursion && self.refs.len() >= MOST_RECURSION)
            || self.refs.len() >= MOST_DEPTH
            || self.shapes_left == 0;
        if is_cut {
            // Anything: the argument is then told as JSON, and still validated by the whole schema.
            return Shape::default();
        }
        let Some(schema) = find(self.root, target) else {
            return Shape::default();
        };
        // Counted and not only bounded in depth: references that fork twice a level would grow with a power.
        self.shapes_left -= 1;
        self.refs.push(target);
        let shape = self.shape(schema);
        self.refs.pop();
        shape
    }
}

/// What a `$ref` (`#/$defs/name`) leads to.
fn find<'a>(root: &'a Tree, target: &str) -> Option<&'a Tree> {
    let path = percent_decode_str(target.strip_prefix('#')?).decode_utf8_lossy();
    // `#name` is an anchor, which only the validator knows.
    if !path.is_empty() && !path.starts_with('/') {
        return None;
    }
    path.split('/').skip(1).try_fold(root, |schema, step| {
        // `~1` first would be wrong for `~01`: RFC 6901, section 4, decodes it before `~0`, as here.
        let step: Cow<'_, str> = if step.contains('~') {
            step.replace("~1", "/").replace("~0", "~").into()
        } else {
            step.into()
        };
        match schema {
            Tree::List(elements) => elements.get(step.parse::<usize>().ok()?),
            _ => schema.get(&step),
        }
    })
}

fn types(schema: &Tree) -> Types {
    match schema.get("type") {
        Some(Tree::Text(name)) => Types::named(name),
        Some(Tree::List(names)) => {
            let names = names.iter().filter_map(Tree::as_text);
            names.map(Types::named).fold(Types::default(), Types::with)
        }
        _ => Types::default(),
    }
}

fn literals(schema: &Tree) -> Vec<Tree> {
    let values = schema.get("enum").map(Tree::elements);
    let only = schema.get("const").map(std::slice::from_ref);
    only.or(values).unwrap_or_default().to_vec()
}

/// What is said of the same value in another place: both hold.
fn absorb(shape: &mut Shape, other: Shape) {
    let common = shape.types.common(other.types);
    // Two places that contradict each other leave what the nearer one says.
    if shape.types.is_empty() || !common.is_empty() {
        shape.types = common;
    }
    shape.description = shape.description.take().or(other.description);
    if shape.literals.is_empty() {
        shape.literals = other.literals;
    }
    shape.minimum = shape.minimum.take().or(other.minimum);
    shape.maximum = shape.maximum.take().or(other.maximum);
    shape.pattern = shape.pattern.take().or(other.pattern);
    shape.items = shape.items.take().or(other.items);
    if shape.branches.is_empty() {
        shape.branches = other.branches;
    }
    shape.fields = match (shape.fields.take(), other.fields) {
        (Some(mut own), Some(theirs)) => {
            for prop in theirs.props {
                match own.props.iter_mut().find(|known| known.name == prop.name) {
                    Some(known) => {
                        known.is_required |= prop.is_required;
                        absorb(&mut known.shape, prop.shape);
                    }
                    None => own.props.push(prop),
                }
            }
            let rest = match (own.rest, theirs.rest) {
                (Rest::Any, rest) | (rest, _) => rest,
            };
            Some(Box::new(Fields::new(own.props, rest)))
        }
        (own, theirs) => own.or(theirs),
    };
}

/// The value has one of several shapes: null is a type like any other, several texts are one text, and one shape that is
/// left is the shape.
fn unite(shape: &mut Shape, branches: Vec<Shape>) {
    // One that only says which members must be there, or nothing, tells nothing about the types.
    if branches.iter().any(|branch| branch.types.is_empty()) {
        return;
    }
    let null = branches.iter().any(|branch| branch.types.has(Types::NULL));
    let mut rest: Vec<Shape> = branches
        .into_iter()
        .filter(|branch| branch.types != Types::NULL)
        .collect();
    let is_text = |branch: &Shape| branch.types == Types::STRING;
    if rest.len() > 1 && rest.iter().all(is_text) {
        // One branch without literals admits any text.
        let are_all_literal = rest.iter().all(|branch| !branch.literals.is_empty());
        let literals = rest.drain(..).flat_map(|branch| branch.literals).collect();
        rest.push(Shape {
            types: Types::STRING,
            literals: if are_all_literal {
                literals
            } else {
                Vec::new()
            },
            ..Shape::default()
        });
    }
    let null = if null { Types::NULL } else { Types::default() };
    // A union with null alone is the shape itself, which may be null.
    if rest.len() == 1
        && let Some(mut only) = rest.pop()
    {
        only.types = only.types.with(null);
        absorb(shape, only);
        return;
    }
    let types = rest
        .iter()
        .fold(null, |types, branch| types.with(branch.types));
    absorb(
        shape,
        Shape {
            types,
            branches: rest,
            ..Shape::default()
        },
    );
}
