//! Any OpenAI-compatible API as a provider: the lane that needs no web account. One provider for each
//! `OPENAI_COMPAT_n_NAME`, `_BASE_URL`, `_API_KEY`, `_MODELS`. Source: OpenAI's public API reference.

mod account;
mod delta;
pub mod stream;
mod wire;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use self::{account::Account, stream::Decoder};
use super::{Model, Provider, Turn};
use crate::{
    accounts::{Accounts, Choice, Pool},
    chat::{ProviderError, Support},
    settings::{Settings, Vars},
};

/// Most bytes of an answer in one piece.
const MOST_WHOLE_BYTES: usize = 64 << 20;

/// The upstream obeys everything itself, except what the gateway must do to see the answer at all. `stop` is watched
/// here as well: where the upstream obeys there is nothing to see, and not every compatible server does.
const FIELDS: &[(&str, Support)] = &[
    ("audio", Support::Refused),
    ("frequency_penalty", Support::Honoured),
    ("function_call", Support::Honoured),
    ("functions", Support::Honoured),
    ("logit_bias", Support::Honoured),
    ("logprobs", Support::Honoured),
    ("max_completion_tokens", Support::Honoured),
    ("max_tokens", Support::Honoured),
    ("metadata", Support::Honoured),
    ("modalities", Support::Refused),
    ("parallel_tool_calls", Support::Honoured),
    ("prediction", Support::Honoured),
    ("presence_penalty", Support::Honoured),
    ("prompt_cache_key", Support::Honoured),
    ("reasoning_effort", Support::Honoured),
    ("response_format", Support::Honoured),
    ("safety_identifier", Support::Honoured),
    ("seed", Support::Honoured),
    ("service_tier", Support::Honoured),
    ("store", Support::Honoured),
    ("temperature", Support::Honoured),
    ("tool_choice", Support::Honoured),
    ("tools", Support::Honoured),
    ("top_logprobs", Support::Honoured),
    ("top_p", Support::Honoured),
    ("verbosity", Support::Honoured),
    ("web_search_options", Support::Honoured),
    ("enable_search", Support::Honoured),
    ("enable_thinking", Support::Honoured),
    ("search_type", Support::Honoured),
    ("thinking", Support::Honoured),
    ("use_search", Support::Honoured),
];

/// Constant, so that listings are stable: this gateway's first release.
const CREATED: i64 = 1_763_683_200;

/// One lane.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    number: usize,
    accounts: Pool<Account>,
    models: Vec<Model>,
    base_url: String,
}

/// One provider for each numbered lane. A lane added later needs a restart; its keys do not.
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Vec<String>,
) -> Vec<Arc<dyn Provider>> {
    let numbers = vars.numbers("OPENAI_COMPAT_", "_BASE_URL");
    let mut lanes: Vec<Arc<dyn Provider>> = Vec::new();
    for number in numbers {
        let variable = |suffix: &str| format!("OPENAI_COMPAT_{number}_{suffix}");
        let name = vars
            .get(&variable("NAME"))
            .map_or_else(|| format!("openai{number}"), str::to_owned);
        let is_name = name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        });
        if !is_name || lanes.iter().any(|lane| lane.name() == name) {
            problems.push(format!(
                "{} must be a name of its own, of a-z, 0-9, - and _",
                variable("NAME")
            ));
        }
        let models: Vec<Model> = vars
            .get(&variable("MODELS"))
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|model| !model.is_empty())
            .map(|id| Model {
                vision: true,
                files: true,
                ..Model::new(id, id, CREATED)
            })
            .collect();
        if models.is_empty() {
            problems.push(format!(
                "{} must list at least one model",
                variable("MODELS")
            ));
        }
        let lane = OpenAi {
            base_url: vars.base_url(&variable("BASE_URL"), "", problems),
            accounts: Pool::new(settings.patience, usize::MAX),
            name,
            number,
            models,
        };
        lane.accounts
            .replace(account::accounts(vars, number, problems));
        lanes.push(Arc::new(lane));
    }
    lanes
}

impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        self.models.iter().find(|model| model.id == id).cloned()
    }

    /// `name/model`: whatever the upstream may have.
    fn accept(&self, id: &str) -> Option<Model> {
        let unlisted = || Model {
            vision: true,
            files: true,
            ..Model::new(id, id, CREATED)
        };
        Some(self.find(id).unwrap_or_else(unlisted))
    }

    fn fields(&self) -> &[&'static [(&'static str, Support)]] {
        &[FIELDS]
    }

    fn takes_any_part(&self) -> bool {
        true
    }

    fn reports_usage(&self) -> bool {
        true
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn how_to_configure(&self) -> String {
        format!("set OPENAI_COMPAT_{}_API_KEY", self.number)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Vec<String>) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, self.number, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn chat<'a>(&'a self, turn: &'a mut Turn) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(turn))
    }
}

impl OpenAi {
    async fn answer(&self, turn: &mut Turn) -> Result<(), ProviderError> {
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let request = wire::ask(&self.base_url, &account, &turn.model.upstream, &turn.chat);
        let mut answer = turn.send(request).await?;
        if !answer.status.is_success() {
            let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
            let body = answer.short().await.unwrap_or_default();
            return Err(
                wire::refusal(status, &body, &account.variable).with_retry_after(retry_after)
            );
        }
        if answer.content_type() != "text/event-stream" {
            // As asked, or from a server that answers in one piece whatever is asked.
            let whole = answer.bytes(MOST_WHOLE_BYTES).await?;
            stream::whole(&whole, &account.variable, &mut turn.events)?;
            turn.emit().await;
            return Ok(());
        }
        let mut decoder = Decoder::new(&account.variable);
        while let Some(bytes) = answer.chunk().await? {
            let fed = decoder.feed(&bytes, &mut turn.events);
            // What came before an error is said before it.
            turn.emit().await;
            fed?;
        }
        decoder.finish(&mut turn.events)?;
        turn.emit().await;
        Ok(())
    }
}
