//! A token by name and password: tried once, for everybody who waits for it. Source: `wire/deepseek.md` section 2.

use std::time::Instant;

use super::{
    account::Account,
    call,
    refusal::{self, Refusal},
    session::Session,
    wire::{self, Identity},
};
use crate::{
    accounts::Secret,
    chat::{Kind, ProviderError},
    providers::{Messenger, Turn},
    upstream::Request,
};

/// The account's token, by a login where it has none.
///
/// # Errors
/// Why there is none; a login that failed is not tried again before its time ([`Session::failure`]).
pub(super) async fn token(
    identity: &Identity,
    turn: &Turn,
    account: &Account,
) -> Result<Secret, ProviderError> {
    let mut session = account.session().await;
    if let Some(token) = session.token(account) {
        return Ok(token);
    }
    if let Some(failure) = session.failure(Instant::now()) {
        return Err(failure);
    }
    let Some(login) = &account.login else {
        return Err(Refusal::Token.into_error(&account.variable));
    };
    let (request, variable) = (wire::login(identity, login), account.variable.clone());
    let (messenger, now) = (turn.messenger(), turn.unix_ms());
    // A task of its own: an attempt whose caller has left still counts, and those who wait for it hear its end.
    let task = actix_web::rt::spawn(async move {
        log_in(&mut session, &messenger, request, now, &variable).await
    });
    task.await.unwrap_or_else(|_| {
        Err(ProviderError::new(
            Kind::Unavailable,
            "the login was interrupted",
        ))
    })
}

async fn log_in(
    session: &mut Session,
    messenger: &Messenger,
    request: Request,
    now: u64,
    variable: &str,
) -> Result<Secret, ProviderError> {
    let answered = async {
        let mut answer = messenger.send(request).await?;
        let head = call::head(now, &answer);
        Ok::<_, ProviderError>((head, answer.short().await?))
    };
    let (head, body) = match answered.await {
        Ok(answered) => answered,
        Err(error) => {
            session.login_failed(error.clone(), Instant::now());
            return Err(error);
        }
    };
    match refusal::data::<wire::LoggedIn>(head, &body) {
        Ok(wire::LoggedIn { user }) if !user.token.is_empty() => {
            let token = Secret::new(user.token);
            session.logged_in(token.clone(), Instant::now(), refusal::too_soon(variable));
            // Known before the first question (section 2).
            refusal::mute(user.chat.as_deref(), now).map_or(Ok(token), Err)
        }
        _ => {
            let (error, is_final) = refusal::login(head, &body, variable);
            if is_final {
                session.login_refused(error.clone());
            } else {
                session.login_failed(error.clone(), Instant::now());
            }
            tracing::warn!(
                provider = super::NAME,
                is_final,
                "a login was refused; it is not repeated for each question"
            );
            Err(error)
        }
    }
}
