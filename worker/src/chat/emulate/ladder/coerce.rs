//! Brings a value into the form that its schema wants, where nothing is lost by it. Source: tools.md section 8, step 5.

use std::collections::HashSet;

use super::super::{
    json::{is_number, read},
    schema::{Fields, Rest, Shape, Types},
    tree::Tree,
};

/// Mends the members of an object; whether anything was.
pub fn fit_members(members: &mut Vec<(String, Tree)>, fields: &Fields) -> bool {
    let mut is_mended = false;
    for at in 0..members.len() {
        let Some((name, _)) = members.get(at) else {
            break;
        };
        // A name that is a little off counts for the member that it can only mean, unless that is there itself.
        if fields.find(name).is_none()
            && let Some(prop) = fields.find_loosely(name)
            // Two members of one name would leave only the last.
            && members.iter().all(|(known, _)| *known != prop.name)
            && let Some((name, _)) = members.get_mut(at)
        {
            name.clone_from(&prop.name);
            is_mended = true;
        }
    }
    for (name, value) in members.iter_mut() {
        if let Some(shape) = fields.shape_of(name) {
            is_mended |= fit(value, shape);
        }
    }
    // In this order: names first, since shapes are found by them; what is superfluous last, since a value may have
    // become null.
    let before = members.len();
    members.retain(|(name, value)| match (fields.find(name), &fields.rest) {
        (None, Rest::None) => false,
        (Some(prop), _) => {
            let is_left_out =
                *value == Tree::Null && !prop.is_required && !prop.shape.types.admit(&Tree::Null);
            !is_left_out
        }
        (None, Rest::Any | Rest::Of(_)) => true,
    });
    is_mended || members.len() < before
}

/// Mends a value; whether anything was.
pub fn fit(value: &mut Tree, shape: &Shape) -> bool {
    let mut is_mended = false;
    let types = shape.types;
    // A union is decided before anything is mended, as what mends it for one branch may spoil it for another.
    if !shape.branches.is_empty() {
        return fit_one_of(value, shape);
    }
    if types.has(Types::INTEGER)
        && !types.has(Types::NUMBER)
        && let Tree::Number(digits) = value
        && let Some(whole) = whole_number(digits)
    {
        *digits = whole;
        is_mended = true;
    }
    if !types.admit(value)
        && let Some(other) = converted(value, shape)
    {
        *value = other;
        is_mended = true;
    }
    match value {
        Tree::Object(members) => {
            if let Some(fields) = &shape.fields {
                is_mended |= fit_members(members, fields);
            }
        }
        Tree::List(elements) => {
            if let Some(items) = &shape.items {
                for element in elements {
                    is_mended |= fit(element, items);
                }
            }
        }
        Tree::Text(text) => {
            if let Some(literal) = literal(text, &shape.literals) {
                literal.clone_into(text);
                is_mended = true;
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => {}
    }
    is_mended
}

/// Of several shapes the one that the value has, if it is one only; else it is left as it is.
fn fit_one_of(value: &mut Tree, shape: &Shape) -> bool {
    let admits = |branch: &&Shape| branch.types.admit(value);
    let mut fitting: Vec<&Shape> = shape.branches.iter().filter(admits).collect();
    // None fits as it is: then one that it can be made to fit.
    if fitting.is_empty() && !shape.types.admit(value) {
        let convertible = |branch: &&Shape| converted(value, branch).is_some();
        fitting = shape.branches.iter().filter(convertible).collect();
    }
    // Several: the members with fixed values say which it is.
    if fitting.len() > 1 {
        fitting.retain(|branch| has_its_literals(value, branch));
    }
    match fitting.as_slice() {
        [only] => fit(value, only),
        _ => false,
    }
}

/// Whether the members that tell objects apart (`"type": {"const": …}`) are those of this one.
fn has_its_literals(value: &Tree, branch: &Shape) -> bool {
    let props = branch.fields.iter().flat_map(|fields| &fields.props);
    props
        .filter(|prop| !prop.shape.literals.is_empty())
        .all(|prop| {
            let found = value.get(&prop.name);
            found.map_or(!prop.is_required, |found| {
                prop.shape.literals.contains(found)
            })
        })
}

/// The value as another type that its shape takes, where it means the same.
fn converted(value: &Tree, shape: &Shape) -> Option<Tree> {
    let types = shape.types;
    if let Tree::Text(text) = value {
        let trimmed = text.trim();
        if types.has(Types::INTEGER) && is_number(trimmed) {
            let whole = whole_number(trimmed);
            // Whole, or digits without any sign of a fraction: `1e3` is left as it is.
            if whole.is_some() || !trimmed.contains(['.', 'e', 'E']) {
                return Some(Tree::Number(whole.unwrap_or_else(|| trimmed.into())));
            }
        }
        if types.has(Types::NUMBER) && is_number(trimmed) {
            return Some(Tree::Number(trimmed.into()));
        }
        if types.has(Types::BOOLEAN) {
            for (word, is_true) in [("true", true), ("false", false)] {
                if trimmed.eq_ignore_ascii_case(word) {
                    return Some(Tree::Bool(is_true));
                }
            }
        }
        if types.has_any(Types::ARRAY.with(Types::OBJECT)) && trimmed.starts_with(['[', '{']) {
            let inside = read(trimmed).ok().map(|reading| reading.tree);
            if let Some(inside) = inside.filter(|inside| types.admit(inside)) {
                return Some(inside);
            }
        }
    }
    if types.has(Types::STRING)
        && let Tree::Number(_) | Tree::Bool(_) = value
    {
        return Some(Tree::Text(value.to_json()));
    }
    if types.has(Types::ARRAY)
        // One element in place of a list of one: models leave the brackets out.
        && !matches!(value, Tree::Object(_) | Tree::List(_) | Tree::Null)
        && let Some(items) = &shape.items
    {
        let mut element = value.clone();
        fit(&mut element, items);
        let fits = !items.types.is_empty() && items.types.admit(&element);
        return fits.then(|| Tree::List(vec![element]));
    }
    None
}

/// `12.0` as `12`. Only where the fraction is zeros: an exponent may stand for more digits than anybody wants.
fn whole_number(digits: &str) -> Option<Box<str>> {
    let (whole, fraction) = digits.split_once('.')?;
    fraction
        .bytes()
        .all(|byte| byte == b'0')
        .then(|| whole.into())
}

/// The literal that a text can only mean: the same but for the letter case.
fn literal<'a>(text: &str, literals: &'a [Tree]) -> Option<&'a str> {
    let texts = || literals.iter().filter_map(Tree::as_text);
    if literals.is_empty() || texts().any(|literal| literal == text) {
        return None;
    }
    let lower = text.trim().to_lowercase();
    let mut alike = texts().filter(|literal| literal.to_lowercase() == lower);
    let only = alike.next();
    only.filter(|_| alike.next().is_none())
}

/// Whether a value has the types, the members that must be there and the literals of its shape: what can be told without
/// the validator.
pub fn is_fit(value: &Tree, shape: &Shape) -> bool {
    if !shape.types.admit(value) {
        return false;
    }
    // Null beside an enum is a matter of the types.
    if !shape.literals.is_empty() && !shape.literals.contains(value) && *value != Tree::Null {
        return false;
    }
    match value {
        Tree::Object(members) => {
            let fields = shape.fields.as_deref();
            fields.is_none_or(|fields| are_fit(members, fields))
        }
        Tree::List(elements) => {
            let items = shape.items.as_deref();
            items.is_none_or(|items| elements.iter().all(|element| is_fit(element, items)))
        }
        _ => true,
    }
}

/// As [`is_fit`], of an object's members.
pub fn are_fit(members: &[(String, Tree)], fields: &Fields) -> bool {
    // A set, as both sides may be long, and both are strangers'.
    let names: HashSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    let has = |name: &str| names.contains(name);
    let is_complete = fields
        .props
        .iter()
        .all(|prop| !prop.is_required || has(&prop.name));
    is_complete
        && members.iter().all(|(name, value)| {
            let is_allowed = fields.find(name).is_some() || !matches!(fields.rest, Rest::None);
            let shape = fields.shape_of(name);
            is_allowed && shape.is_none_or(|shape| is_fit(value, shape))
        })
}
