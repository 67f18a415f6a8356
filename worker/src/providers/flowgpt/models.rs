//! Our ids and the prompts that they mean: a service of prompts has no models of its own. Source: `wire/flowgpt.md` section
//! 4, table "Models".

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{providers::Model, settings::Problems};

const VARIABLE: &str = "FLOWGPT_MODEL_MAP";
/// 2025-10-16, when the table was written down.
const CREATED: i64 = 1_760_572_800;
/// What answers nearly every prompt.
const ARES: &str = "FlowGPT-Ares";

/// Id, prompt, upstream model.
const TABLE: &[(&str, &str, &str)] = &[
    ("gpt-4-free", "uzNcMUGo4sOwl4GFvRpm8", ARES),
    ("chatgpt-5-pro", "vlaOLDN9qTxzIlvzfL_Ty", ARES),
    ("claude-instant", "model-claude-instant", "claude-instant"),
    ("aisuperior", "lKm5yPE9x-Naf0_0_KI5M", ARES),
];

/// Whom to ask, in the service's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `promptId`.
    pub(super) prompt: String,
    /// `model`.
    pub(super) model: String,
}

/// All ids, each with what it means.
#[derive(Debug)]
pub(super) struct Models {
    listed: Vec<Model>,
    /// As many as `listed`, in the same order.
    targets: Vec<Target>,
}

impl Models {
    /// The table, and the ids of `FLOWGPT_MODEL_MAP` over it: `{"alias":"prompt id"}` or
    /// `{"alias":{"promptId":"…","model":"…"}}`.
    pub(super) fn read(map: Option<&str>, problems: &mut Problems) -> Self {
        let mut models = Self {
            listed: Vec::new(),
            targets: Vec::new(),
        };
        // Later entries of the map take the place of the table's.
        for (id, prompt, model) in TABLE {
            models.put(id, Target::new(prompt, model));
        }
        let Some(map) = map else {
            return models;
        };
        let Ok(map) = serde_json::from_str::<Map<String, Value>>(map) else {
            problems.push(format!(
                "{VARIABLE} must be a JSON object: {{\"alias\":\"prompt id\"}}"
            ));
            return models;
        };
        for (id, meant) in &map {
            match target(meant).filter(|_| !id.trim().is_empty()) {
                Some(target) => models.put(id.trim(), target),
                None => problems.push(format!(
                    "{VARIABLE}: {id:?} must have a prompt id, or {{\"promptId\":\"…\",\"model\":\"…\"}}"
                )),
            }
        }
        models
    }

    /// The models to list.
    pub(super) fn listed(&self) -> &[Model] {
        &self.listed
    }

    /// The model that an id means. Nothing else is one: the service would answer as some other prompt.
    pub(super) fn find(&self, id: &str) -> Option<Model> {
        self.listed.get(self.place(id)?).cloned()
    }

    /// What a model of [`Models::find`] stands for.
    pub(super) fn target(&self, model: &Model) -> Option<&Target> {
        self.targets.get(self.place(&model.id)?)
    }

    fn put(&mut self, id: &str, target: Target) {
        // By place, so that a listing keeps its order when the owner changes a row.
        match self.place(id).and_then(|at| self.targets.get_mut(at)) {
            Some(known) => *known = target,
            None => {
                self.listed.push(Model::new(id, &*target.model, CREATED));
                self.targets.push(target);
            }
        }
    }

    fn place(&self, id: &str) -> Option<usize> {
        let mut listed = self.listed.iter();
        listed.position(|model| model.id.eq_ignore_ascii_case(id))
    }
}

impl Target {
    fn new(prompt: &str, model: &str) -> Self {
        Self {
            prompt: prompt.to_owned(),
            model: model.to_owned(),
        }
    }
}

/// A value of the map.
fn target(meant: &Value) -> Option<Target> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meant {
        prompt_id: String,
        model: Option<String>,
    }
    let (prompt, model) = match meant {
        Value::String(prompt) => (prompt.clone(), None),
        _ => {
            let meant = Meant::deserialize(meant).ok()?;
            (meant.prompt_id, meant.model)
        }
    };
    let model = model.filter(|model| !model.trim().is_empty());
    // Section 4: what answers nearly every prompt, where the map names none.
    let target = Target::new(prompt.trim(), model.as_deref().map_or(ARES, str::trim));
    Some(target).filter(|target| !target.prompt.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(models: &'a Models, id: &str) -> Option<(&'a str, &'a str)> {
        let target = models.target(&models.find(id)?)?;
        Some((&target.prompt, &target.model))
    }

    /// The table of section 4.
    #[test]
    fn knows_the_pages_ids_and_no_others() {
        let models = Models::read(None, &mut Problems::default());
        let ids: Vec<&str> = models
            .listed()
            .iter()
            .map(|model| model.id.as_str())
            .collect();
        assert_eq!(
            ids,
            [
                "gpt-4-free",
                "chatgpt-5-pro",
                "claude-instant",
                "aisuperior"
            ]
        );
        for (id, expected) in [
            (
                "gpt-4-free",
                Some(("uzNcMUGo4sOwl4GFvRpm8", "FlowGPT-Ares")),
            ),
            (
                "ChatGPT-5-Pro",
                Some(("vlaOLDN9qTxzIlvzfL_Ty", "FlowGPT-Ares")),
            ),
            (
                "claude-instant",
                Some(("model-claude-instant", "claude-instant")),
            ),
            (
                "aisuperior",
                Some(("lKm5yPE9x-Naf0_0_KI5M", "FlowGPT-Ares")),
            ),
            ("gpt-4", None),
            ("", None),
        ] {
            assert_eq!(target(&models, id), expected, "{id}");
        }
    }

    #[test]
    fn the_map_adds_and_replaces() {
        let map = r#"{"mine":"p-1","mag":{"promptId":"p-2","model":"magnum-12b-v2"},"gpt-4-free":{"promptId":"p-3"}}"#;
        let mut problems = Problems::default();
        let models = Models::read(Some(map), &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        assert_eq!(models.listed().len(), 6);
        assert_eq!(target(&models, "mine"), Some(("p-1", "FlowGPT-Ares")));
        assert_eq!(target(&models, "mag"), Some(("p-2", "magnum-12b-v2")));
        assert_eq!(target(&models, "gpt-4-free"), Some(("p-3", "FlowGPT-Ares")));
    }

    #[test]
    fn what_is_no_map_is_a_problem() {
        for map in [
            "mine=p",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":""}"#,
            r#"{"a":{"model":"x"}}"#,
            r#"{"":"p"}"#,
        ] {
            let mut problems = Problems::default();
            Models::read(Some(map), &mut problems);
            assert_eq!(problems.errors.len(), 1, "{map}: {problems:?}");
        }
    }
}
