//! The members of an object.

use std::{collections::HashMap, sync::OnceLock};

use super::{shape::Shape, tools::loose_name};

/// From so many members on, an index is made: both the schema and the call are strangers', and looking for each of one in
/// all of the other would take time with the product.
const WORTH_AN_INDEX: usize = 16;

/// The members that an object may have.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Those that the schema names, in its order.
    pub props: Vec<Prop>,
    /// What else it may have.
    pub rest: Rest,
    index: OnceLock<Index>,
}

/// A member that the schema names.
#[derive(Clone, Debug, Default)]
pub struct Prop {
    /// Its name.
    pub name: String,
    /// It must be there.
    pub is_required: bool,
    /// What it is.
    pub shape: Shape,
}

/// `additionalProperties`
#[derive(Clone, Debug, Default)]
pub enum Rest {
    /// Anything.
    #[default]
    Any,
    /// Whatever the name, of this shape.
    Of(Box<Shape>),
    /// Nothing.
    None,
}

#[derive(Clone, Debug, Default)]
struct Index {
    exact: HashMap<String, usize>,
    /// `None`: more than one member has this name when it is read loosely.
    loose: HashMap<String, Option<usize>>,
}

impl Fields {
    /// These members.
    pub fn new(props: Vec<Prop>, rest: Rest) -> Self {
        Self {
            props,
            rest,
            index: OnceLock::new(),
        }
    }

    /// The member of this very name.
    pub fn find(&self, name: &str) -> Option<&Prop> {
        // Few members are compared faster than a name is hashed.
        let at = if self.props.len() < WORTH_AN_INDEX {
            self.props.iter().position(|prop| prop.name == name)?
        } else {
            *self.index().exact.get(name)?
        };
        self.props.get(at)
    }

    /// The member of this name, else the only one that has it when both are read loosely. Source: tools.md section 8,
    /// step 3.
    pub fn find_loosely(&self, name: &str) -> Option<&Prop> {
        let index = || self.index().loose.get(&loose_name(name)).copied().flatten();
        self.find(name).or_else(|| self.props.get(index()?))
    }

    /// What a member of this name is, if there may be one and anything is said about it.
    pub fn shape_of(&self, name: &str) -> Option<&Shape> {
        match (self.find(name), &self.rest) {
            (Some(prop), _) => Some(&prop.shape),
            (None, Rest::Of(shape)) => Some(shape),
            (None, Rest::Any | Rest::None) => None,
        }
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Index::default();
            for (at, prop) in self.props.iter().enumerate() {
                index.exact.insert(prop.name.clone(), at);
                let loose = index.loose.entry(loose_name(&prop.name));
                loose.and_modify(|known| *known = None).or_insert(Some(at));
            }
            index
        })
    }
}
