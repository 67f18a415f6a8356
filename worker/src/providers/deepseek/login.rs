//! A token by name and password: tried once, for everybody who waits for it. Source: `wire/deepseek.md` section 2.

use std::time::Instant;

use super::{
    account::Account,
    call,
    identity::Identity,
    refusal::{self, Refusal},
    session::Session,
    wire::{self, Caller},
};
use crate::{
    accounts::Secret,
    chat::{Kind, ProviderError},
    providers::{Messenger, Turn},
    upstream::Request,
};

/// The account's token, by a login where it has none. `checks_device`: as the site does after every start, once.
///
/// # Errors
/// Why there is none; a login that failed is not tried again before its time ([`Session::failure`]).
pub(super) async fn token(
    identity: &Identity,
    turn: &Turn,
    account: &Account,
    checks_device: bool,
) -> Result<Secret, ProviderError> {
    let token = current(identity, turn, account).await?;
    if !checks_device {
        return Ok(token);
    }
    let mut session = account.session().await;
    if !session.begins_check(&token) {
        return Ok(session.token(account).unwrap_or(token));
    }
    let request = wire::check_device(Caller {
        identity,
        token: &token,
        device_id: &account.device_id,
    });
    let (messenger, now) = (turn.messenger(), turn.unix_ms());
    // A task of its own: should the service replace the token, nobody else may miss it.
    let task = actix_web::rt::spawn(async move {
        let checked = async {
            let mut answer = messenger.send(request).await.ok()?;
            let head = call::head(now, &answer);
            let body = answer.short().await.ok()?;
            let checked = refusal::data::<wire::Checked>(head, &body).ok()?;
            checked.token().map(Secret::new)
        };
        let rotated = checked.await;
        if let Some(token) = &rotated {
            session.rotated(token.clone());
        }
        rotated
    });
    // Its failure changes nothing.
    Ok(task.await.ok().flatten().unwrap_or(token))
}

async fn current(
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
    let request = wire::login(identity, account, login);
    let variable = account.variable.clone();
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
