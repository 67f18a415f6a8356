//! Tools, the choice among them, and the form of the answer, as chat completions write them. What an upstream of the same
//! dialect may understand is never refused here: whatever has no form that we know asks for tools all the same.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    chat::{
        Format, Json, Text, Tool, ToolChoice, text,
        tools::{JsonSchema, ToolKind},
    },
    http::reading::Word,
};

/// Longer choices are none that anybody makes: the names of a hundred tools have 8 KiB.
const MOST_CHOICE_BYTES: usize = 64 << 10;

/// `tools` and `functions`: an array of objects.
pub(super) struct Tools {
    /// Those of a form that we know.
    pub(super) known: Vec<Tool>,
    pub(super) is_empty: bool,
}

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ToolsVisitor;

        impl<'de> Visitor<'de> for ToolsVisitor {
            type Value = Tools;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tools, A::Error> {
                let mut tools = Tools {
                    known: Vec::new(),
                    is_empty: true,
                };
                let mut place = 0;
                while let Some(Outer(definition)) = seq.next_element()? {
                    text::count_piece()?;
                    tools.is_empty = false;
                    tools.known.extend(definition.into_tool(place));
                    place += 1;
                }
                Ok(tools)
            }
        }

        deserializer.deserialize_seq(ToolsVisitor)
    }
}

/// The members of a tool, and of what is inside `function`, `custom` and `json_schema`.
#[derive(Default)]
struct Definition {
    kind: Option<Text>,
    name: Option<Text>,
    description: Option<Json>,
    parameters: Option<Json>,
    format: Option<Json>,
    schema: Option<Json>,
    is_strict: bool,
    is_deferred: bool,
    /// What is inside, and whether it is a `custom` tool.
    inside: Option<(Box<Self>, bool)>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Type,
    Function,
    Custom,
    Name,
    Description,
    Parameters,
    Format,
    Schema,
    Strict,
    DeferLoading,
    #[serde(other)]
    Other,
}

/// An item of the array.
struct Outer(Definition);

impl<'de> Deserialize<'de> for Outer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OuterVisitor;

        impl<'de> Visitor<'de> for OuterVisitor {
            type Value = Outer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Outer, A::Error> {
                Definition::read(map, true).map(Outer)
            }
        }

        deserializer.deserialize_map(OuterVisitor)
    }
}

/// What is inside; nothing, where it is no object.
struct Inner;

impl<'de> DeserializeSeed<'de> for Inner {
    type Value = Option<Box<Definition>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // Not `deserialize_map`: a `function` that is a text would refuse a body that its own upstream may understand.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner {
    type Value = Option<Box<Definition>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Definition::read(map, false).map(|inside| Some(Box::new(inside)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl Definition {
    /// Schemas and descriptions stay as they are written: nobody may ever look at them.
    fn read<'de, A: MapAccess<'de>>(mut map: A, is_outer: bool) -> Result<Self, A::Error> {
        let mut it = Self::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Type => it.kind = map.next_value::<Word>()?.0,
                Key::Name => it.name = map.next_value::<Word>()?.0,
                Key::Description => it.description = map.next_value()?,
                Key::Parameters => it.parameters = map.next_value()?,
                Key::Format => it.format = map.next_value()?,
                Key::Schema => it.schema = map.next_value()?,
                Key::Strict => it.is_strict = is_true(map.next_value()?),
                Key::DeferLoading => it.is_deferred = is_true(map.next_value()?),
                // Only at the outer level: a `function` within a `function` would let a body choose how deep the stack
                // goes.
                Key::Function | Key::Custom if is_outer => {
                    let inside = map.next_value_seed(Inner)?;
                    let is_custom = matches!(key, Key::Custom);
                    // The first that is an object stays, should a `null` of the other name follow it.
                    it.inside = inside.map(|inside| (inside, is_custom)).or(it.inside);
                }
                Key::Function | Key::Custom | Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(it)
    }

    /// `None` for what nobody could call.
    fn into_tool(mut self, place: usize) -> Option<Tool> {
        let kind = self.kind.take();
        let kind = kind.as_deref();
        let (inside, is_custom) = match self.inside.take() {
            Some((inside, is_custom)) => (*inside, is_custom),
            // Flat, as `functions` have it, and other dialects.
            None => {
                if let Some(kind) = kind
                    && !matches!(kind, "function" | "custom")
                {
                    return Some(Tool {
                        // A tool of the service's own has no name but its type, by which the provider finds it.
                        name: kind.into(),
                        description: None,
                        kind: ToolKind::Hosted,
                        is_strict: false,
                        is_deferred: false,
                        place,
                    });
                }
                let is_custom = kind == Some("custom");
                (std::mem::take(&mut self), is_custom)
            }
        };
        Some(Tool {
            name: inside.name?,
            description: inside.description,
            kind: if is_custom {
                ToolKind::Custom {
                    format: inside.format,
                }
            } else {
                ToolKind::Function {
                    parameters: inside.parameters,
                }
            },
            // Either place: the reference puts `strict` inside, and older clients beside it.
            is_strict: inside.is_strict || self.is_strict,
            is_deferred: inside.is_deferred || self.is_deferred,
            place,
        })
    }
}

fn is_true(value: &RawValue) -> bool {
    value.get() == "true"
}

/// Whether `tool_choice` or `function_call` asks for more than the default does.
pub(super) fn asks_for_tool(choice: Option<&RawValue>) -> bool {
    choice.is_some_and(|choice| !matches!(choice.get(), r#""none""# | r#""auto""#))
}

/// `tool_choice`, or the older `function_call`. A form that nobody knows leaves the choice to the model.
pub(super) fn tool_choice(choice: Option<&RawValue>) -> ToolChoice {
    /// The name of a tool, wherever it stands.
    #[derive(Deserialize)]
    struct Named {
        name: Option<Text>,
        function: Option<Name>,
        custom: Option<Name>,
        allowed_tools: Option<Allowed>,
        mode: Option<Text>,
        tools: Option<Vec<Item>>,
    }

    #[derive(Deserialize)]
    struct Name {
        name: Text,
    }

    #[derive(Deserialize)]
    struct Allowed {
        mode: Option<Text>,
        tools: Option<Vec<Item>>,
    }

    #[derive(Deserialize)]
    struct Item {
        name: Option<Text>,
        function: Option<Name>,
        custom: Option<Name>,
    }

    let named = |name: Option<Text>, function: Option<Name>, custom: Option<Name>| {
        // The name next to the type is Responses' and Anthropic's form, the one inside is chat completions'.
        name.or_else(|| Some(function.or(custom)?.name))
    };
    // Compared as it is written, so that a stranger's megabyte is not read into a tree to be thrown away.
    let Some(choice) = choice.filter(|choice| choice.get().len() <= MOST_CHOICE_BYTES) else {
        return ToolChoice::Auto;
    };
    match choice.get() {
        r#""auto""# => return ToolChoice::Auto,
        r#""none""# => return ToolChoice::None,
        // `any`, as another dialect says it.
        r#""required""# | r#""any""# => return ToolChoice::Required,
        _ => {}
    }
    let Ok(choice) = serde_json::from_str::<Named>(choice.get()) else {
        return ToolChoice::Auto;
    };
    let (tools, mode) = choice
        .allowed_tools
        .map_or((choice.tools, choice.mode), |allowed| {
            (allowed.tools, allowed.mode)
        });
    if let Some(tools) = tools {
        let names = tools.into_iter();
        return ToolChoice::Allowed {
            names: names
                .filter_map(|item| named(item.name, item.function, item.custom))
                .collect(),
            is_required: mode.as_deref() == Some("required"),
        };
    }
    named(choice.name, choice.function, choice.custom).map_or(ToolChoice::Auto, ToolChoice::Named)
}

/// `response_format`.
#[derive(Deserialize)]
pub(super) struct ResponseFormat {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    #[serde(default)]
    json_schema: Inside,
}

/// What is inside `json_schema`.
#[derive(Default)]
struct Inside(Option<Box<Definition>>);

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Inner.deserialize(deserializer).map(Self)
    }
}

impl ResponseFormat {
    /// A schema of a form that nobody knows is none.
    pub(super) fn into_format(self) -> Format {
        match &*self.kind {
            "text" => Format::Text,
            "json_object" => Format::JsonObject,
            "json_schema" => {
                let read = self.json_schema.0.unwrap_or_default();
                // Absent inside is an upstream's to complain about; here it is a schema that binds nothing.
                Format::JsonSchema(Box::new(JsonSchema {
                    name: read.name.unwrap_or_default(),
                    description: read.description,
                    schema: read.schema,
                    is_strict: read.is_strict,
                }))
            }
            _ => Format::Other { kind: self.kind },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(json: &str) -> Vec<Tool> {
        serde_json::from_str::<Tools>(json).unwrap().known
    }

    fn choice(json: &str) -> ToolChoice {
        tool_choice(Some(serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn a_schema_stays_as_it_is_written() {
        let read = tools(
            r#"[{"type":"function","function":{"name":"f","description":"a\nb","strict":true,"parameters":{"b": 1,"a" :2}}},{"type":"custom","custom":{"name":"g","format":{"type":"text"}}},{"type":"web_search","x":{}}]"#,
        );
        let ToolKind::Function {
            parameters: Some(parameters),
        } = &read[0].kind
        else {
            panic!("{read:?}")
        };
        assert_eq!(parameters.get(), r#"{"b": 1,"a" :2}"#);
        assert_eq!(read[0].description().as_deref(), Some("a\nb"));
        assert!(read[0].is_strict && !read[1].is_strict);
        assert!(
            matches!(&read[1].kind, ToolKind::Custom { format: Some(format) } if format.get() == r#"{"type":"text"}"#)
        );
        assert_eq!(
            (&*read[2].name, &read[2].kind),
            ("web_search", &ToolKind::Hosted)
        );
    }

    #[test]
    fn flat_tools_are_tools_and_nonsense_is_none() {
        let read = tools(
            r#"[{"name":"f","parameters":{}},{"type":"function","name":"g"},{"function":{"name":"h"}},{},{"type":"function","function":5},{"type":"function","function":{"name":[[{}]],"function":{}}},{"function":[]},{"custom":null,"type":5}]"#,
        );
        let names: Vec<&str> = read.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["f", "g", "h"]);
        let places = read.iter().map(|tool| tool.place);
        assert_eq!(places.collect::<Vec<_>>(), [0, 1, 2]);
        let behind = tools(r#"[{},{"type":"function","function":{}},{"name":"f"}]"#);
        assert_eq!(behind[0].place, 2, "as the caller counts");
    }

    #[test]
    fn choices_have_many_forms() {
        let named = |name: &str| ToolChoice::Named(name.into());
        for (json, expected) in [
            (r#""auto""#, ToolChoice::Auto),
            (r#""none""#, ToolChoice::None),
            (r#""required""#, ToolChoice::Required),
            (r#"{"type":"function","function":{"name":"f"}}"#, named("f")),
            (r#"{"type":"custom","custom":{"name":"f"}}"#, named("f")),
            (r#"{"name":"f"}"#, named("f")),
            ("5", ToolChoice::Auto),
            ("{}", ToolChoice::Auto),
            (
                r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}"#,
                ToolChoice::Allowed {
                    names: vec!["f".into()],
                    is_required: true,
                },
            ),
            (
                r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}"#,
                ToolChoice::Allowed {
                    names: vec!["f".into()],
                    is_required: false,
                },
            ),
        ] {
            assert_eq!(choice(json), expected, "{json}");
        }
    }
}
