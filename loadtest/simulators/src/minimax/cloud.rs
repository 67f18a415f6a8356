//! The generations with a stream: preparation, sessions. Source: wire/minimax.md §12.3, §12.4, §12.6.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    ask::{self, Ask},
    refusal::{self, Refusal},
    stream,
};
use crate::{Call, Control, Reply};

/// Every model of `config`: its id, what its variant may be, how much it reads. The last one is on no page, as a new one.
const MODELS: [(&str, &[&str], u64); 6] = [
    ("MiniMax-M3", &["", "thinking"], 450_000),
    ("MiniMax-M2.7", &["thinking"], 200_000),
    ("MiniMax-M2.7-highspeed", &["thinking"], 200_000),
    ("MiniMax-M2.5", &["thinking"], 200_000),
    ("MiniMax-M3.1-Flash-Preview", &["thinking"], 450_000),
    ("MiniMax-M9-Sim", &["", "thinking"], 1_000_000),
];

/// The agents of each account, in the order in which they are listed, and the one to take.
const AGENTS: [(&[(&str, &str)], &str); crate::ACCOUNTS] = [
    (
        &[
            ("161803398874989", "general"),
            ("314159265358979", "chat"),
            ("271828182845904", "mavis"),
        ],
        "271828182845904",
    ),
    (
        &[("161803398874989", "general"), ("314159265358979", "chat")],
        "314159265358979",
    ),
    (
        &[
            ("141421356237309", "writer"),
            ("173205080756887", "painter"),
        ],
        "141421356237309",
    ),
];

/// What a session is asked in; sessions by id.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    made: u64,
    /// The calls of §12.3 that each account has made.
    prepared: HashMap<usize, HashSet<&'static str>>,
    turns: HashSet<String>,
}

#[derive(Debug)]
struct Session {
    account: usize,
    agent: String,
    model: Option<String>,
    /// The turn that is being answered.
    running: Option<String>,
    rounds: Vec<(String, String, String)>,
}

impl Sessions {
    /// `GET {p}/config`.
    pub(super) fn config(&mut self, account: usize, call: &Call) -> Reply {
        self.prepared.entry(account).or_default().insert("config");
        let short = call.fault == Some("config_short");
        let models = MODELS.iter().take(if short { 1 } else { MODELS.len() });
        let models = models.map(|(id, variants, limit)| {
            json!({
                "provider_id": "minimax", "model_id": id, "supported_variants": variants, "context_limit": limit,
                "thinking_config": {"enabled": true},
            })
        });
        refusal::success(json!({"models": models.collect::<Vec<_>>()}))
    }

    /// `GET {p}/agent`.
    pub(super) fn agents(&mut self, account: usize, call: &mut Call) -> Reply {
        self.after_config("agent", account, call);
        let (agents, _) = agents(account);
        let list = agents
            .iter()
            .map(|(name, role)| json!({"name": name, "agent_role": role, "display_name": format!("Sim {role}")}));
        refusal::success(json!({"agents": list.collect::<Vec<_>>()}))
    }

    /// `GET {p}/channel/connections`.
    pub(super) fn connections(&mut self, account: usize, call: &mut Call) -> Reply {
        self.after_config("connections", account, call);
        refusal::success(json!({"connections": []}))
    }

    fn after_config(&mut self, step: &'static str, account: usize, call: &mut Call) {
        let prepared = self.prepared.entry(account).or_default();
        if !prepared.contains("config") {
            call.violate("config is the first of the three");
        }
        prepared.insert(step);
    }

    /// `POST {p}/agent/{name}/session`.
    pub(super) fn open(
        &mut self,
        agent: &str,
        body: &Value,
        archon: bool,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let prepared = self.prepared.get(&account).map_or(0, HashSet::len);
        if prepared < 3 {
            // No violation: how a client hears of it that was prepared before this service forgot.
            call.note("prepared", prepared);
            return Err(refusal::unprepared());
        }
        let (agents, wanted) = agents(account);
        if agents.iter().any(|(_, role)| *role == agent) {
            call.violate("a role is no id of an agent");
            return Err(refusal::success(json!({})));
        }
        if agent != wanted {
            call.violate(format!("the agent is {agent:?}, not {wanted:?}"));
            if !agents.iter().any(|(name, _)| *name == agent) {
                return Err(refusal::success(json!({})));
            }
        }
        let model = ask::session(body, agent, archon, call).map_err(|what| {
            call.violate(what);
            refusal::malformed()
        })?;
        if let Some(model) = &model {
            known(model, None, call)?;
        }
        self.made += 1;
        let id = format!("{}", 417_302_981_443_021 + self.made);
        call.conversation = Some(id.clone());
        control.created();
        let session = Session {
            account,
            agent: agent.to_owned(),
            model,
            running: None,
            rounds: Vec::new(),
        };
        self.by_id.insert(id.clone(), session);
        Ok(refusal::success(
            json!({"agent_name": agent, "session_id": id}),
        ))
    }

    /// Whether a message may be sent in a session now.
    pub(super) fn allow(
        &mut self,
        id: &str,
        ask: &Ask,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        known(&ask.model, Some(&ask.variant), call)?;
        let own = self.by_id.get(id);
        let Some(session) = own.filter(|session| session.account == account) else {
            call.violate(format!(
                "{id:?} is no session of this account, or archived already"
            ));
            return Err(refusal::no_session());
        };
        if session.running.is_some() {
            call.violate("the session is asked while it still answers");
            return Err(Reply::new(
                409,
                "application/json",
                r#"{"error":"session is busy"}"#,
            ));
        }
        if !session.rounds.is_empty() && ask::tells_a_history(&call.turns) {
            call.violate("the session has heard all that was said in it already");
        }
        if session
            .model
            .as_ref()
            .is_some_and(|model| *model != ask.model)
        {
            call.violate("the message's model is not that of its session");
        }
        if !self.turns.insert(ask.turn.clone()) {
            call.violate("turn_id was used before");
            return Err(refusal::malformed());
        }
        Ok(())
    }

    /// The session is busy until [`Sessions::free`].
    pub(super) fn begin(&mut self, id: &str, ask: &Ask, said: &str) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.running = Some(ask.turn.clone());
            let round = (ask.turn.clone(), ask.prompt.clone(), said.to_owned());
            session.rounds.push(round);
        }
    }

    pub(super) fn free(&mut self, id: &str, turn: &str) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.running.take_if(|running| running == turn);
        }
    }

    /// `POST {p}/session/{id}/archive`.
    pub(super) fn archive(
        &mut self,
        id: &str,
        bytes: &[u8],
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        call.conversation = Some(id.to_owned());
        if bytes != br#"{"archived":true}"# {
            call.violate("the body is not {\"archived\":true}");
            return Err(refusal::malformed());
        }
        let own = self.by_id.get(id);
        let Some(session) = own.filter(|session| session.account == account) else {
            call.violate(format!(
                "{id:?} is no session of this account, or archived already"
            ));
            return Err(refusal::no_session());
        };
        if session.running.is_some() {
            // No violation: a client cannot know when the service has noticed that it left.
            return Err(Reply::new(
                409,
                "application/json",
                r#"{"error":"session is busy"}"#,
            ));
        }
        self.by_id.remove(id);
        control.deleted();
        Ok(refusal::success(json!({"success": true})))
    }

    /// `GET {p}/session/{id}`, and with `/message` its history.
    pub(super) fn show(
        &self,
        id: &str,
        history: bool,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let own = self.by_id.get(id);
        let Some(session) = own.filter(|session| session.account == account) else {
            call.violate(format!("{id:?} is no session of this account"));
            return Err(refusal::no_session());
        };
        if history {
            return Ok(refusal::success(stream::history(&session.rounds)));
        }
        let status = u8::from(session.running.is_some());
        Ok(refusal::success(json!({"session": {
            "session_id": id, "agent_name": session.agent, "title": "",
            "status": {"status_type": status, "message": ""},
            "model": {"provider_id": "minimax", "model_id": session.model},
        }})))
    }
}

fn agents(account: usize) -> (&'static [(&'static str, &'static str)], &'static str) {
    let own = account.checked_sub(1).and_then(|at| AGENTS.get(at));
    own.copied().unwrap_or((&[], ""))
}

/// Whether there is such a model, with this variant.
fn known(model: &str, variant: Option<&str>, call: &mut Call) -> Result<(), Refusal> {
    let own = MODELS.iter().find(|(id, ..)| *id == model);
    let fits = own
        .is_some_and(|(_, variants, _)| variant.is_none_or(|variant| variants.contains(&variant)));
    if fits {
        return Ok(());
    }
    call.violate(format!(
        "config does not list {model:?} with the variant {variant:?}"
    ));
    Err(refusal::malformed())
}
