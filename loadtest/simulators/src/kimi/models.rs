//! What the site offers, and who may use it. Source: wire/kimi.md §3 (GetAvailableModels), §4.2, §4.5.

use serde_json::{Value, json};

use super::{
    COMPUTER, SCENARIO,
    ask::Ask,
    refusal::{Error, INVALID},
};
use crate::Control;

/// The one account whose membership has all of it (`LEVEL_ADVANCED`).
pub(super) const MEMBER: usize = 2;
/// A scenario, model or context that only members have.
pub(super) const MEMBERS_ONLY: Error = Error::because(
    "permission_denied",
    "REASON_SUBSCRIPTION_NEED_APPLY",
    "This model is for members only. Please upgrade your plan.",
);

/// The generation of a question's form, and whether the account may ask it. `Err`: the service refuses it.
pub(super) fn allow(
    ask: &Ask,
    account: usize,
    control: &Control,
) -> Result<Option<&'static str>, Error> {
    let generation = match ask.scenario.as_str() {
        "SCENARIO_OK_COMPUTER" | "SCENARIO_OK_COMPUTER_SWARM" => Some(COMPUTER),
        "SCENARIO_K3" | "SCENARIO_K3_THINKING" => Some(SCENARIO),
        _ => None,
    };
    if generation.is_some_and(|generation| !control.speaks(generation)) {
        return Err(INVALID);
    }
    if (ask.is_long || ask.is_swarm) && account != MEMBER {
        return Err(MEMBERS_ONLY);
    }
    Ok(generation)
}

/// `GetAvailableModels`: with a login, what the account may use.
pub(super) fn available(account: Option<usize>, control: &Control) -> Value {
    let member = account == Some(MEMBER);
    let effort = |effort: &str, name: &str| json!({"effort": format!("REASONING_EFFORT_{effort}"), "displayName": name});
    let k3_efforts = json!([
        {"effort": "REASONING_EFFORT_LOW"}, {"effort": "REASONING_EFFORT_HIGH"}, {"effort": "REASONING_EFFORT_MAX"},
    ]);
    let mut models = vec![json!({
        "scenario": "SCENARIO_K2D5", "displayName": "K2.6", "description": "…", "inputPlaceholder": "…", "key": "k2d6",
        "thinking": true, "available": true,
        "reasoningEffortOptions": [effort("NONE", "Instant"), effort("LOW", "Thinking")],
        "defaultReasoningEffort": "REASONING_EFFORT_NONE",
    })];
    let mut long = json!({"contextLength": "CONTEXT_LENGTH_XL", "displayName": "1M", "minMembershipLevel": "LEVEL_ADVANCED"});
    let mut swarm = json!({
        "scenario": "SCENARIO_OK_COMPUTER", "displayName": "K3 Swarm", "key": "k3-agent-ultra", "thinking": true,
        "kimiPlusId": "ok-computer", "agentMode": "TYPE_ULTRA", "minMembershipLevel": "LEVEL_ADVANCED",
    });
    if member {
        // Missing booleans are false.
        long["available"] = json!(true);
        swarm["available"] = json!(true);
    }
    if control.speaks(COMPUTER) {
        models.push(json!({
            "scenario": "SCENARIO_OK_COMPUTER", "displayName": "K3", "key": "k3", "thinking": true,
            "kimiPlusId": "ok-computer", "available": true,
            "contextLengthOptions": [{"contextLength": "CONTEXT_LENGTH_L", "displayName": "256K", "available": true}, long],
            "defaultContextLength": "CONTEXT_LENGTH_L", "reasoningEffortOptions": k3_efforts,
            "defaultReasoningEffort": "REASONING_EFFORT_HIGH",
        }));
        models.push(swarm);
    } else if control.speaks(SCENARIO) {
        models.push(json!({
            "scenario": "SCENARIO_K3", "displayName": "K3", "key": "k3", "thinking": true, "available": true,
            "reasoningEffortOptions": k3_efforts, "defaultReasoningEffort": "REASONING_EFFORT_HIGH",
        }));
    }
    json!({"availableModels": models, "defaultScenario": {"scenario": "SCENARIO_K2D5", "thinking": true}})
}
