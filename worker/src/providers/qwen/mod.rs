//! Qwen: Tongyi Qianwen's domestic web chat. Steps: account (section 2, 3), attachments (4.4), question (4.3),
//! answer (7), clean-up (9) of `wire/qwen.md`.

mod account;
mod models;
mod refusal;
mod route;
pub mod stream;
mod upload;
mod wire;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    route::{AccountMap, Policy},
    stream::Decoder,
    wire::{Caller, Question},
};
use super::{Model, Provider, Turn};
use crate::{
    accounts::{Accounts, Choice, Pool},
    chat::{ProviderError, Support, fields},
    settings::{Settings, Vars},
};

const NAME: &str = "qwen";

/// The provider.
#[derive(Debug)]
pub struct Qwen {
    accounts: Pool<Account>,
    models: Vec<Model>,
    base_url: String,
    upload_base_url: Option<String>,
    account_map: AccountMap,
    policy: Policy,
    deletes_sessions: bool,
    prewarms: bool,
}

/// Reads the provider's own variables (section 2.1, 3).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Vec<String>,
) -> Vec<Arc<dyn Provider>> {
    let base_url = vars.base_url("QWEN_BASE_URL", "https://api.tongyi.com", problems);
    let qwen = Qwen {
        // The service allows little parallelism an account; ten at a time were seen to work (section 10).
        accounts: Pool::new(
            settings.patience,
            vars.number("QWEN_MAX_CONCURRENCY", 10, 1, 1000, problems),
        ),
        models: models::listed(),
        base_url: base_url.trim_end_matches("/dialog").to_owned(),
        upload_base_url: vars
            .get("QWEN_UPLOAD_BASE_URL")
            .map(|_| vars.base_url("QWEN_UPLOAD_BASE_URL", "", problems)),
        account_map: AccountMap::read(vars.get("MODEL_TO_ACCOUNT_MAP"), problems),
        policy: Policy::read(vars.get("QWEN_ACCOUNT_POLICY"), problems),
        deletes_sessions: vars.switch("QWEN_DELETE_SESSION", true, problems),
        prewarms: vars.switch("QWEN_PREWARM", false, problems),
    };
    qwen.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(qwen)]
}

impl Provider for Qwen {
    fn name(&self) -> &str {
        NAME
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id)
    }

    fn accept(&self, id: &str) -> Option<Model> {
        Some(models::accept(id))
    }

    fn fields(&self) -> &[&'static [(&'static str, Support)]] {
        &[fields::THINKING, fields::SEARCH]
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn how_to_configure(&self) -> String {
        "set CN_ACCOUNT_1_COOKIE and CN_ACCOUNT_1_XSRF_TOKEN, or QWEN_TOKEN".to_owned()
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Vec<String>) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn chat<'a>(&'a self, turn: &'a mut Turn) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(turn))
    }
}

impl Qwen {
    async fn answer(&self, turn: &mut Turn) -> Result<(), ProviderError> {
        let prompt = turn.prompt(wire::prompt).await?;
        let choice = self.choice(&turn.chat.model, turn.caller);
        let account = turn.lease(&self.accounts, choice).await?;
        let caller = Caller {
            base_url: &self.base_url,
            account: &account,
        };
        if self.prewarms {
            // The page makes this call; its failure is of no consequence (section 4.1).
            let _ = turn.send(wire::prewarm(caller)).await;
        }
        let items = self.attachments(turn, caller).await?;
        if prompt.trim().is_empty() && items.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let question = Question {
            model: &turn.model.upstream,
            thinking: turn.chat.thinking.unwrap_or(turn.model.thinking),
            search: turn.chat.search.unwrap_or(turn.model.search),
            request_id: turn.uuid().to_string(),
            batch_id: turn.uuid().to_string(),
            prompt,
            items,
        };
        let mut answer = turn.send(wire::ask(caller, question)).await?;
        if answer.status.as_u16() != 200 || answer.content_type() != "text/event-stream" {
            let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
            let body = answer.short().await?;
            return Err(
                refusal::refusal(status, &body, &account.variable).with_retry_after(retry_after)
            );
        }
        let mut decoder = Decoder::new(&account.variable);
        let mut is_registered = false;
        while let Some(bytes) = answer.chunk().await? {
            let fed = decoder.feed(&bytes, &mut turn.events);
            if let Some(session_id) = decoder
                .session_id()
                .filter(|_| self.deletes_sessions && !is_registered)
            {
                turn.afterwards(wire::delete_session(caller, session_id));
                is_registered = true;
            }
            // What came before an error is said before it.
            turn.emit().await;
            fed?;
        }
        decoder.finish(&mut turn.events)?;
        if decoder.rewrites() > 0 {
            tracing::info!(
                provider = NAME,
                rewrites = decoder.rewrites(),
                "the service rewrote what it had said"
            );
        }
        turn.emit().await;
        Ok(())
    }

    /// Only the last message's pictures and documents go along (section 4.3).
    async fn attachments(
        &self,
        turn: &Turn,
        caller: Caller<'_>,
    ) -> Result<Vec<serde_json::Value>, ProviderError> {
        let last = turn.chat.messages.len() - 1;
        let Some(message) = turn.chat.messages.get(last) else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        for file in turn.attachments(last, message).await? {
            items.push(upload::upload(turn, caller, self.upload_base_url.as_deref(), &file).await?);
        }
        Ok(items)
    }

    /// Which account a model name leads to: looked up as the client wrote it, before any alias (section 3).
    fn choice(&self, requested: &str, caller: u64) -> Choice {
        match (self.account_map.get(requested), self.policy) {
            (Some(number), _) => Choice::Only(number),
            (None, Policy::Map) => Choice::Only(1),
            (None, Policy::RoundRobin) => Choice::Any(caller),
        }
    }
}
