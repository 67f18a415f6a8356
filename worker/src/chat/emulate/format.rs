//! Answers in JSON from models that know no formats: what the model is told. The judge of what it says is
//! [`super::verify`]. Source: tools.md section 13.

use super::{json::read_exact, schema::MOST_SCHEMA_BYTES, verdict::Validator};
use crate::chat::{Format, Invalid};

/// The field to blame.
const PARAM: &str = "response_format";

/// Whether a form can be answered in.
///
/// # Errors
/// 400 for a form that nobody here knows, and for a schema that nobody could fit.
pub fn check(format: &Format) -> Result<(), Invalid> {
    let format = match format {
        Format::Text | Format::JsonObject => return Ok(()),
        Format::JsonSchema(format) => format,
        Format::Other { .. } => {
            return Err(Invalid {
                code: Some("unsupported_parameter"),
                ..Invalid::field(
                    PARAM,
                    "This form of an answer is not supported for this model.",
                )
            });
        }
    };
    let Some(schema) = &format.schema else {
        return Ok(());
    };
    // Measured before it is read: what reads it takes time with its length.
    if schema.get().len() > MOST_SCHEMA_BYTES {
        let words = format!("The schema has at most {MOST_SCHEMA_BYTES} bytes.");
        return Err(Invalid::field(PARAM, words));
    }
    // Only of a strict one: without `strict` a schema that nobody can check is still told to the model.
    if format.is_strict && Validator::of(schema.get()).is_none() {
        let words = "A strict format needs a valid JSON Schema that leads to no other document.";
        return Err(Invalid::field(PARAM, words));
    }
    Ok(())
}

/// The last line of the last turn of the user's. `beside_tools`: the turn may be calls instead.
pub fn instruction(format: &Format, beside_tools: bool) -> String {
    let begin = if beside_tools {
        "Unless you call a tool, answer"
    } else {
        "Answer"
    };
    let rule =
        format!("{begin} with one JSON object and nothing else: no words around it, no fence.");
    let schema = match format {
        Format::JsonSchema(format) => format.schema.as_ref(),
        Format::Text | Format::JsonObject | Format::Other { .. } => None,
    };
    match schema {
        None => rule,
        Some(schema) => {
            // As short as it can be said; what nobody can read is told as it is.
            let schema = read_exact(schema.get())
                .map_or_else(|_| schema.get().to_owned(), |it| it.to_json());
            format!("{rule} It must fit this JSON Schema: {schema}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Json, tools::JsonSchema};

    fn schema(schema: &str, is_strict: bool) -> Format {
        Format::JsonSchema(Box::new(JsonSchema {
            name: "x".into(),
            description: None,
            schema: Some(Json::new(schema).unwrap()),
            is_strict,
        }))
    }

    #[test]
    fn the_form_is_told_in_one_line() {
        let object = Format::JsonObject;
        assert_eq!(
            instruction(&object, false),
            "Answer with one JSON object and nothing else: no words around it, no fence."
        );
        let fitting = schema("{\"type\" : \"object\",\n\"a\":1.0}", false);
        assert_eq!(
            instruction(&fitting, true),
            "Unless you call a tool, answer with one JSON object and nothing else: no words around it, no fence. It must fit this JSON Schema: {\"type\":\"object\",\"a\":1.0}"
        );
    }

    #[test]
    fn what_nobody_could_answer_is_refused() {
        for format in [
            Format::Other {
                kind: "grammar".into(),
            },
            schema(r#"{"type":"nothing"}"#, true),
            schema(r#"{"$ref":"https://e/x"}"#, true),
            schema(
                &format!(r#"{{"description":"{}"}}"#, "x".repeat(MOST_SCHEMA_BYTES)),
                false,
            ),
        ] {
            assert_eq!(check(&format).unwrap_err().param.as_deref(), Some(PARAM));
        }
        assert!(check(&schema(r#"{"type":"nothing"}"#, false)).is_ok());
    }
}
