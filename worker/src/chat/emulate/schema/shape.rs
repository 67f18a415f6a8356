//! What one value may be.

use std::fmt;

use super::super::tree::Tree;
use super::fields::Fields;

/// How a value of a shape is written in a call. Source: tools.md section 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// As it is, raw.
    Text,
    /// Raw, but `null` means null.
    NullableText,
    /// As JSON.
    Json,
    /// As JSON; what is none is text.
    Union,
    /// Nothing is said about it: JSON if all of it is, else text.
    #[default]
    Untyped,
}

impl Kind {
    /// Whether it is announced, and written, as raw text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::NullableText)
    }
}

/// A set of JSON Schema's types. Empty: nothing is said, so all.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// `null`
    pub const NULL: Self = Self(1);
    /// `boolean`
    pub const BOOLEAN: Self = Self(2);
    /// `integer`; a number that has no fraction is one.
    pub const INTEGER: Self = Self(4);
    /// `number`
    pub const NUMBER: Self = Self(8);
    /// `string`
    pub const STRING: Self = Self(16);
    /// `array`
    pub const ARRAY: Self = Self(32);
    /// `object`
    pub const OBJECT: Self = Self(64);
    /// With the words of JSON Schema.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("integer", Self::INTEGER),
        ("number", Self::NUMBER),
        ("string", Self::STRING),
        ("array", Self::ARRAY),
        ("object", Self::OBJECT),
    ];

    /// The one of this name; empty for a word that is none.
    pub fn named(name: &str) -> Self {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map_or_else(Self::default, |(_, types)| *types)
    }

    /// The one of a value.
    pub fn of(value: &Tree) -> Self {
        match value {
            Tree::Number(digits) if !digits.contains(['.', 'e', 'E']) => Self::INTEGER,
            other => Self::named(other.type_name()),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are in it.
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether one of `others` is in it.
    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are not in `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those of both sides; where one says nothing, those of the other.
    #[must_use]
    pub fn common(self, others: Self) -> Self {
        match (self.0, others.0) {
            (0, types) | (types, 0) => Self(types),
            (own, theirs) => {
                // An integer is a number, too.
                let numbers = Self::NUMBER.0 | Self::INTEGER.0;
                let is_integer = (own | theirs) & Self::INTEGER.0 != 0
                    && own & numbers != 0
                    && theirs & numbers != 0;
                let integer = if is_integer { Self::INTEGER.0 } else { 0 };
                Self(own & theirs | integer)
            }
        }
    }

    /// Whether a value is of one of them, or nothing is said.
    pub fn admit(self, value: &Tree) -> bool {
        let own = Self::of(value);
        self.is_empty() || self.has(own) || (own == Self::INTEGER && self.has(Self::NUMBER))
    }

    /// Their names, in the order of [`Types::NAMES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Self::NAMES.into_iter();
        named.filter_map(move |(name, types)| self.has(types).then_some(name))
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a value may be, as far as a call's writing and repair depend on it.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The types; of a union those of all its branches.
    pub types: Types,
    /// What it is for, in the schema's words.
    pub description: Option<String>,
    /// The values of an `enum` or `const`; empty: any.
    pub literals: Vec<Tree>,
    /// `minimum`, as it is written. An exclusive bound is not said here.
    pub minimum: Option<Box<str>>,
    /// `maximum`, likewise.
    pub maximum: Option<Box<str>>,
    /// `pattern`, of a text.
    pub pattern: Option<String>,
    /// What the elements of a list are; `None`: anything.
    pub items: Option<Box<Self>>,
    /// The members of an object; `None`: anything.
    pub fields: Option<Box<Fields>>,
    /// Of a union the shapes that it has apart from null; none where one shape says it all.
    pub branches: Vec<Self>,
}

impl Shape {
    /// How it is written in a call.
    pub fn kind(&self) -> Kind {
        let types = self.types;
        if types.is_empty() {
            return Kind::Untyped;
        }
        if !types.has(Types::STRING) {
            return Kind::Json;
        }
        if types == Types::STRING {
            Kind::Text
        } else if types == Types::STRING.with(Types::NULL) {
            Kind::NullableText
        } else {
            Kind::Union
        }
    }

    /// What an element of it is, if it may be a list.
    pub fn element(&self) -> Option<&Self> {
        let own = self.items.as_deref();
        own.or_else(|| {
            self.branches
                .iter()
                .find_map(|branch| branch.items.as_deref())
        })
    }

    /// What a member of it is, if it may be an object that has it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let own = self
            .fields
            .as_ref()
            .and_then(|fields| fields.shape_of(name));
        own.or_else(|| self.branches.iter().find_map(|branch| branch.member(name)))
    }

    /// Whether some text lies below a list or an object of it.
    pub fn has_deep_text(&self) -> bool {
        let inside = self.items.iter().map(|items| &**items);
        let props = self.fields.iter().flat_map(|fields| &fields.props);
        inside
            .chain(props.map(|prop| &prop.shape))
            .any(|shape| shape.kind().is_text() || shape.has_deep_text())
            || self.branches.iter().any(Self::has_deep_text)
    }
}
