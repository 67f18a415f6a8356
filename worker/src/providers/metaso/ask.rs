//! One question in one of the generations, with what each needs before. Source: `wire/metaso.md` sections 4, 5.1 and 10.1.

use std::time::Instant;

use serde_json::Value;

use super::{
    Metaso, NAME,
    account::{Account, Token},
    generation::Generation,
    prompt::Question,
    refusal::{self, Asker, Refusal},
    stream::Decoder,
    wire::{self, Caller},
};
use crate::{
    accounts::Secret,
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::{Answer, Request, json, linger},
};

impl Metaso {
    /// Asks in one generation, with a leased account.
    ///
    /// # Errors
    /// [`Refusal`]; one that says that the generation is not there comes only before any output.
    pub(super) async fn ask(
        &self,
        generation: Generation,
        turn: &mut Turn,
        account: &Account,
        question: &Question,
    ) -> Result<(), Refusal> {
        let (answer, token) = match generation {
            Generation::Chat => {
                // Before the cookies are read: fetching it may add to them.
                let token = self.token(turn, account).await?;
                let (cookie, id) = (account.standing.cookie(), turn.uuid());
                let request = wire::chat(self.caller(&cookie), question, id, token.expose());
                (send(turn, account, request).await?, token)
            }
            Generation::SearchV2 => {
                let (session_id, token) = self.session(turn, account, question).await?;
                // Known before the answer begins, and nothing deletes it (section 8).
                turn.opened(&session_id, None);
                let cookie = account.standing.cookie();
                let caller = self.caller(&cookie);
                let request = wire::search(caller, question, &session_id, token.expose());
                (send(turn, account, request).await?, token)
            }
        };
        let result = self.read(generation, turn, account, answer).await;
        if let Err(refusal) = &result
            && matches!(refusal.error.kind, Kind::RateLimited | Kind::AuthExpired)
        {
            // Section 5.1: a new one is fetched after these.
            account.standing.forget(&token).await;
        }
        result
    }

    /// Passes the answer on as it comes.
    async fn read(
        &self,
        generation: Generation,
        turn: &mut Turn,
        account: &Account,
        mut answer: Answer,
    ) -> Result<(), Refusal> {
        if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
            return Err(refused(answer, account).await);
        }
        // It has answered with a stream, so it is there: the others ask it first from now on.
        if self.memory.has_answered(generation) {
            tracing::warn!(
                provider = NAME,
                ?generation,
                "the service has changed its generation"
            );
        }
        let mut decoder = Decoder::new(
            &account.variable,
            account.may_lack_cookies(),
            self.strips_single,
        );
        let mut is_over = false;
        // The connection may stay open behind the answer, or break: that is nobody's business.
        while !decoder.is_finished() {
            let Some(bytes) = answer.chunk().await? else {
                is_over = true;
                break;
            };
            let fed = decoder.feed(&bytes, &mut turn.events);
            turn.emit_then(fed).await?;
        }
        let finished = decoder.finish(&mut turn.events);
        // After `finish`, as the last event may name it.
        if let Some(id) = decoder.conversation_id() {
            turn.opened(id, None);
        }
        if let Some(id) = decoder.message_id() {
            turn.answered_as(id);
        }
        turn.emit_then(finished).await?;
        // From here on "too many requests" means what it says (section 2).
        account.standing.succeeded();
        if !is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// A session of the older generation and the meta-token that it was opened with. A refusal may be about the token, so a new
    /// one is tried once (section 5.1).
    async fn session(
        &self,
        turn: &Turn,
        account: &Account,
        question: &Question,
    ) -> Result<(String, Secret), Refusal> {
        // Once (section 5.1): each try opens a session, and every session counts.
        let mut may_renew = true;
        loop {
            let token = self.token(turn, account).await?;
            let cookie = account.standing.cookie();
            let request = wire::session(self.caller(&cookie), question, token.expose());
            let mut answer = send(turn, account, request).await?;
            // Here a refused token has a status of its own; a code within 200 is judged below.
            if answer.status.as_u16() != 200 {
                let refusal = refused(answer, account).await;
                if refusal.error.kind == Kind::AuthExpired {
                    account.standing.forget(&token).await;
                }
                return Err(refusal);
            }
            let body = answer.short().await?;
            let Some((members @ Value::Object(_), _)) = json::value(&body) else {
                return Err(refusal::refusal(200, &body, asker(account)));
            };
            let has_failed = members.as_object().is_some_and(refusal::is_failure);
            if !has_failed {
                let id = wire::session_id(&members);
                let id = id.ok_or_else(|| ProviderError::malformed("new session"))?;
                return Ok((id, token));
            }
            account.standing.forget(&token).await;
            let error = members
                .as_object()
                .map(|members| refusal::told(members, asker(account)));
            let error = error.unwrap_or_else(|| ProviderError::malformed("new session"));
            // What else is refused is not about the token, and another one would not help.
            let may_be_token = matches!(error.kind, Kind::Unavailable | Kind::Protocol);
            if !may_be_token || !std::mem::replace(&mut may_renew, false) {
                return Err(error.into());
            }
        }
    }

    /// The account's meta-token; fetched by one turn for all that wait.
    async fn token(&self, turn: &Turn, account: &Account) -> Result<Secret, ProviderError> {
        // Held across the call, so that others wait for this one instead of fetching their own.
        let mut known = account.standing.token.lock().await;
        if let Some(token) = known.as_ref().filter(|it| it.is_fresh(Instant::now())) {
            return Ok(token.value.clone());
        }
        let cookie = account.standing.cookie();
        let mut page = send(turn, account, wire::home(self.caller(&cookie))).await?;
        if page.status.as_u16() != 200 {
            return Err(refused(page, account).await.error);
        }
        let value = refusal::token(&page.short().await?, asker(account))?;
        // Before the token is kept: cookies of a stranger must not look like an account's.
        if account.standing.is_new() {
            self.introduce(turn, account).await?;
        }
        let token = Token::new(value, Instant::now());
        let value = token.value.clone();
        *known = Some(token);
        Ok(value)
    }

    /// Asks once who the cookies belong to; the site sets another one with its answer (section 10.1).
    async fn introduce(&self, turn: &Turn, account: &Account) -> Result<(), ProviderError> {
        let cookie = account.standing.cookie();
        let request = wire::my_info(self.caller(&cookie));
        // It is only worth doing: what has failed is done without.
        let Ok(mut answer) = send(turn, account, request).await else {
            return Ok(());
        };
        let status = answer.status.as_u16();
        let body = answer.short().await.unwrap_or_default();
        if refusal::is_stranger(status, &body) {
            return Err(refusal::expired(asker(account)));
        }
        account.standing.introduced();
        Ok(())
    }

    pub(super) fn caller<'a>(&'a self, cookie: &'a Secret) -> Caller<'a> {
        Caller {
            base_url: &self.base_url,
            cookie: cookie.expose(),
        }
    }
}

/// Sends a request and keeps the cookies that come with the answer.
async fn send(turn: &Turn, account: &Account, request: Request) -> Result<Answer, ProviderError> {
    let answer = turn.send(request).await?;
    // Of refusals as well: a page that asks for a check sets cookies, too.
    account.standing.merge(answer.headers("set-cookie"));
    Ok(answer)
}

async fn refused(mut answer: Answer, account: &Account) -> Refusal {
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    // The status alone says something when the body breaks off.
    let body = answer.short().await.unwrap_or_default();
    let mut refusal = refusal::refusal(status, &body, asker(account));
    // A rest that the service names is worth more than our own.
    let own = refusal.error.retry_after;
    refusal.error = refusal.error.with_retry_after(retry_after.or(own));
    refusal
}

fn asker(account: &Account) -> Asker<'_> {
    Asker {
        variable: &account.variable,
        may_lack_cookies: account.may_lack_cookies(),
    }
}
