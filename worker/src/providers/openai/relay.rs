//! What the API can do beside chat: the caller's request with the lane's key and name of the model, the API's answer as it
//! comes. Source: OpenAI's public API reference.

use futures_util::future::LocalBoxFuture;

use super::{OpenAi, refusal, wire};
use crate::{
    accounts::{Choice, Known as _},
    chat::ProviderError,
    providers::{
        Held, Turn,
        relay::{Call, Passed, Relay},
    },
};

impl Relay for OpenAi {
    fn pass<'a>(
        &'a self,
        call: &'a Call,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Passed, ProviderError>> {
        Box::pin(self.pass_on(call, turn))
    }
}

impl OpenAi {
    async fn pass_on(&self, call: &Call, turn: &mut Turn) -> Result<Passed, ProviderError> {
        // A call that continues what another began must be made with the same key.
        let account = match &call.account {
            Some(known) => turn.lease_known(&self.accounts, known).await?,
            None => turn.lease(&self.accounts, Choice::Any(turn.caller)).await?,
        };
        let request = wire::pass(&self.base_url, &account, call, &turn.model.upstream);
        // A call that costs something, or is named by an id, must not be made twice.
        let request = if call.once { request.once() } else { request };
        let sent = turn.send_with(request, call.body.rest()).await;
        let mut answer = sent.map_err(|error| if call.once { error.lasting() } else { error })?;
        let status = answer.status.as_u16();
        if !answer.status.is_success() && !call.told.contains(&status) {
            let retry_after = answer.retry_after();
            let body = answer.short().await.unwrap_or_default();
            let refused = refusal::refusal(status, &body, &account.variable);
            return Err(refused.with_retry_after(retry_after));
        }
        // Nothing that is asked for here is a page for people; a wrong base URL leads to one.
        if answer.content_type() == "text/html" {
            let what = "the upstream answered with a page";
            return Err(refusal::wrong_place(what, &account.variable));
        }
        Ok(Passed {
            answer,
            account: account.fingerprint().as_str().to_owned(),
            lease: Held::of(account),
        })
    }
}
