//! A tool's parameters in one line, in place of its JSON Schema: a third of the bytes, and nothing lost that a model goes
//! by. Source: tools.md section 5.
//!
//! ```text
//! edit(path: text, mode?: "fast"|"full", limit?: integer 1..2000, edits: [{old: text, new: text}])
//! ```

use std::fmt::Write as _;

use super::{
    schema::{Fields, Kind, OfferedTool, Rest, Shape, Types},
    tree::Tree,
};

/// Schemas that branch into themselves grow with a power of that; a signature that has become so long says `json` from
/// there on.
const MOST_BYTES: usize = 64 << 10;
/// Longer patterns say nothing to a model.
const MOST_PATTERN: usize = 60;

/// What stands behind a tool's name, parentheses included.
pub fn parameters(tool: &OfferedTool) -> String {
    let mut text = "(".to_owned();
    write_members(&tool.params, &mut text);
    if tool.params.props.is_empty() && takes_anything(tool) {
        // Which, is the description's to say.
        text.push('…');
    }
    text.push(')');
    text
}

/// Whether a schema without properties leaves them open: one with an empty list of them says that there are none.
fn takes_anything(tool: &OfferedTool) -> bool {
    let schema = tool.schema.as_ref().map_or("", |schema| schema.get());
    !schema.is_empty()
        && !matches!(tool.params.rest, Rest::None)
        && !schema.contains("\"properties\"")
}

/// What the schema says of single parameters, each with its path (`edits[].old`), outermost first.
pub fn descriptions(tool: &OfferedTool) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut bytes = 0;
    describe(&tool.params, "", &mut bytes, &mut found);
    found
}

fn describe<'a>(
    fields: &'a Fields,
    path: &str,
    bytes: &mut usize,
    found: &mut Vec<(String, &'a str)>,
) {
    for prop in &fields.props {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", plain_or_quoted(&prop.name));
        if let Some(words) = prop.shape.description.as_deref().map(str::trim)
            && !words.is_empty()
        {
            *bytes += path.len() + words.len();
            found.push((path.clone(), words));
        }
        describe_inside(&prop.shape, &path, bytes, found);
    }
}

fn describe_inside<'a>(
    shape: &'a Shape,
    path: &str,
    bytes: &mut usize,
    found: &mut Vec<(String, &'a str)>,
) {
    // A schema that leads back to itself has said the same before.
    // Also by the path, since a schema without descriptions adds no bytes while it leads back to itself.
    if *bytes > MOST_BYTES || path.len() > MOST_PATTERN * 4 {
        return;
    }
    if let Some(fields) = &shape.fields {
        describe(fields, path, bytes, found);
    }
    if let Some(items) = &shape.items {
        describe_inside(items, &format!("{path}[]"), bytes, found);
    }
    for branch in &shape.branches {
        describe_inside(branch, path, bytes, found);
    }
}

fn write_members(fields: &Fields, text: &mut String) {
    for (at, prop) in fields.props.iter().enumerate() {
        let gap = if at == 0 { "" } else { ", " };
        let mark = if prop.is_required { "" } else { "?" };
        // Memory cannot fail to be written, here and below.
        let _ = write!(text, "{gap}{}{mark}: ", plain_or_quoted(&prop.name));
        write_shape(&prop.shape, text);
    }
}

fn write_shape(shape: &Shape, text: &mut String) {
    // In front of every shape: whatever branches, ends here.
    if text.len() > MOST_BYTES {
        return text.push_str("json");
    }
    if !shape.literals.is_empty() {
        for (at, literal) in shape.literals.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "|" });
            literal.write(text);
        }
        if shape.types.has(Types::NULL) && !shape.literals.contains(&Tree::Null) {
            text.push_str("|null");
        }
        return;
    }
    let types = shape.types.without(Types::NULL);
    match shape.kind() {
        // A text among other types is quoted, so that it is told from them.
        Kind::Union | Kind::Untyped => return text.push_str("json"),
        Kind::Text | Kind::NullableText | Kind::Json => {}
    }
    let mut is_first = true;
    let mut gap = |text: &mut String| {
        text.push_str(if std::mem::take(&mut is_first) {
            ""
        } else {
            "|"
        });
    };
    if shape.branches.is_empty() {
        for name in types.names() {
            gap(text);
            write_type(name, shape, text);
        }
    } else {
        for branch in &shape.branches {
            gap(text);
            write_shape(branch, text);
        }
    }
    if shape.types.has(Types::NULL) {
        gap(text);
        text.push_str("null");
    }
}

fn write_type(name: &str, shape: &Shape, text: &mut String) {
    match name {
        "string" => {
            text.push_str("text");
            if let Some(pattern) = &shape.pattern
                && pattern.chars().count() <= MOST_PATTERN
            {
                let _ = write!(text, " /{pattern}/");
            }
        }
        "integer" | "number" => {
            text.push_str(name);
            if shape.minimum.is_some() || shape.maximum.is_some() {
                let least = shape.minimum.as_deref().unwrap_or_default();
                let most = shape.maximum.as_deref().unwrap_or_default();
                let _ = write!(text, " {least}..{most}");
            }
        }
        "boolean" => text.push_str("true|false"),
        "array" => {
            text.push('[');
            match &shape.items {
                Some(items) => write_shape(items, text),
                None => text.push_str("json"),
            }
            text.push(']');
        }
        "object" => {
            text.push('{');
            match shape.fields.as_deref() {
                Some(fields) if !fields.props.is_empty() => write_members(fields, text),
                Some(Fields {
                    rest: Rest::Of(values),
                    ..
                }) => {
                    text.push_str("text: ");
                    write_shape(values, text);
                }
                Some(Fields {
                    rest: Rest::None, ..
                }) => {}
                _ => text.push_str("text: json"),
            }
            text.push('}');
        }
        _ => text.push_str("json"),
    }
}

/// A name as it is, unless it could be taken for more than a name.
fn plain_or_quoted(name: &str) -> String {
    let is_odd = |c: char| c.is_whitespace() || ",:?(){}[]<>|\"'".contains(c);
    if name.is_empty() || name.contains(is_odd) {
        Tree::Text(name.to_owned()).to_json()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::schema::Offered;
    use super::*;

    fn tool(parameters: Option<&str>) -> OfferedTool {
        let mut function = json!({"name": "f"});
        if let Some(parameters) = parameters {
            function["parameters"] = serde_json::from_str::<Value>(parameters).unwrap();
        }
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": function}]});
        // As text, so that the order of members is the author's.
        let body = match parameters {
            Some(parameters) => body
                .to_string()
                .replace(&function["parameters"].to_string(), parameters),
            None => body.to_string(),
        };
        let request = crate::http::openai::body::read(body.into()).unwrap();
        Offered::new(&request).unwrap().tools.remove(0)
    }

    #[test]
    fn types_are_written_in_few_words() {
        for (schema, expected) in [
            (
                r#"{"type":"object","properties":{"path":{"type":"string"},"limit":{"type":"integer","minimum":1,"maximum":2000},"mode":{"enum":["fast","full"]},"env":{"type":"object","additionalProperties":{"type":"string"}},"edits":{"type":"array","items":{"type":"object","properties":{"old":{"type":"string"},"new":{"type":"string"}},"required":["old","new"]}}},"required":["path","edits"]}"#,
                r#"(path: text, limit?: integer 1..2000, mode?: "fast"|"full", env?: {text: text}, edits: [{old: text, new: text}])"#,
            ),
            (r#"{"type":"object","properties":{}}"#, "()"),
            (r#"{"type":"object","additionalProperties":false}"#, "()"),
            ("{}", "(…)"),
            (r#"{"type":"object"}"#, "(…)"),
            (
                r#"{"properties":{"a":{"type":["string","null"]},"b":{"type":["integer","null"]},"c":{"type":["string","number"]},"d":{}}}"#,
                "(a?: text|null, b?: integer|null, c?: json, d?: json)",
            ),
            (
                r#"{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]},"b":{"anyOf":[{"type":"string"},{"type":"integer"}]},"c":{"type":"boolean"},"d":{"const":"x"},"e":{"enum":[1,null]}}}"#,
                r#"(a?: text|null, b?: json, c?: true|false, d?: "x", e?: 1|null)"#,
            ),
            (
                r#"{"properties":{"a":{"type":"string","pattern":"^a+$"},"b":{"type":"number","maximum":1},"c":{"type":"array","items":{"type":"string"}},"d":{"type":"array"},"e":{"type":"string","nullable":true},"f":{"type":"object"}}}"#,
                "(a?: text /^a+$/, b?: number ..1, c?: [text], d?: [json], e?: text|null, f?: {text: json})",
            ),
            (
                r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"x":{"allOf":[{"$ref":"#/$defs/B"}]}},"required":["x"]},"B":{"type":"integer"}}}"##,
                "(x: integer)",
            ),
            (
                r#"{"properties":{"odd name?":{"type":"string"}}}"#,
                r#"("odd name?"?: text)"#,
            ),
            (
                r#"{"properties":{"a":{"anyOf":[{"type":"integer"},{"type":"array","items":{"type":"integer"}}]}}}"#,
                "(a?: integer|[integer])",
            ),
        ] {
            assert_eq!(parameters(&tool(Some(schema))), expected, "{schema}");
        }
        assert_eq!(parameters(&tool(None)), "()");
    }

    #[test]
    fn what_leads_back_to_itself_ends() {
        let tree = tool(Some(
            r##"{"properties":{"t":{"$ref":"#/$defs/T"}},"$defs":{"T":{"type":"object","properties":{"l":{"$ref":"#/$defs/T","description":"left"},"m":{"$ref":"#/$defs/T"},"r":{"$ref":"#/$defs/T"},"s":{"$ref":"#/$defs/T"}}}}}"##,
        ));
        let text = parameters(&tree);
        assert!(
            text.contains("json") && text.len() < 2 * MOST_BYTES,
            "{}",
            text.len()
        );
        let described = descriptions(&tree);
        assert_eq!(described[0], ("t.l".to_owned(), "left"));
        assert!(described.len() < 10_000, "{}", described.len());
    }

    #[test]
    fn descriptions_have_paths() {
        let edit = tool(Some(
            r#"{"properties":{"path":{"type":"string","description":" where "},"edits":{"type":"array","description":"what","items":{"properties":{"old":{"type":"string","description":"before"}}}}}}"#,
        ));
        let expected = [
            ("path", "where"),
            ("edits", "what"),
            ("edits[].old", "before"),
        ];
        assert_eq!(
            descriptions(&edit),
            expected.map(|(path, words)| (path.to_owned(), words))
        );
    }
}
