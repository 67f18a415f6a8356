//! A token by name and password: tried once, for everybody who waits for it. Source: `wire/deepseek.md` section 2.

use std::sync::Arc;

use super::{
    account::Account,
    call,
    identity::Identity,
    refusal::{self, Refusal},
    session::Token,
    wire::{self, Caller},
};
use crate::{
    accounts::{
        Secret,
        rotating::{Attempt, Failure, Renewed},
    },
    chat::ProviderError,
    providers::Turn,
};

/// The account's token, by a login where it has none. `checks_device`: as the site does after every start, once.
///
/// # Errors
/// Why there is none; a login that failed is not tried again before its time ([`super::session::Logins`]).
pub(super) async fn token(
    identity: &Arc<Identity>,
    turn: &Turn,
    account: &Account,
    checks_device: bool,
) -> Result<Arc<Token>, ProviderError> {
    let tokens = &account.tokens;
    let token = tokens.current(login(identity, turn, account)).await?;
    // What its login said is told once, instead of a question that would be refused.
    known_before(&token)?;
    if !checks_device {
        // Section 2: the page asks it after every start, and its failure changes nothing.
        return Ok(token);
    }
    let (identity, device_id) = (Arc::clone(identity), account.device_id.clone());
    let (messenger, now) = (turn.messenger(), turn.unix_ms());
    let can_renew = tokens.can_renew();
    let check = async move |token: Arc<Token>| {
        let request = wire::check_device(Caller {
            identity: &identity,
            token: &token.secret,
            device_id: &device_id,
        });
        let checked = async {
            // Neither a refusal nor a broken body is worth more than a log line.
            let mut answer = messenger.send(request).await.ok()?;
            let head = call::head(now, &answer);
            let body = answer.short().await.ok()?;
            let checked = refusal::data::<wire::Checked>(head, &body).ok()?;
            checked.token().map(Secret::new)
        };
        let rotated = checked.await;
        // Its failure changes nothing.
        token.set_checked();
        // A value other than null has not been seen (section 2); readers take it for the new token.
        let secret = rotated?;
        Some(Renewed {
            // Where no login follows its refusal, the pasted one is begun with again.
            keep: can_renew.then(|| secret.clone()),
            token: Token::of_check(secret),
            expires: None,
        })
    };
    Ok(tokens.checked(token, Token::is_unchecked, check).await)
}

/// Another token in place of one that was refused with this error.
///
/// # Errors
/// Why there is none.
pub(super) async fn replaced(
    identity: &Arc<Identity>,
    turn: &Turn,
    account: &Account,
    refused: &Arc<Token>,
    error: ProviderError,
) -> Result<(), ProviderError> {
    let login = login(identity, turn, account);
    let token = account.tokens.replaced(refused, error, login).await?;
    known_before(&token)
}

/// What a login has said of the account is known before the first question (section 2).
fn known_before(token: &Token) -> Result<(), ProviderError> {
    token.take_news().map_or(Ok(()), Err)
}

/// How an account logs in.
fn login(
    identity: &Arc<Identity>,
    turn: &Turn,
    account: &Account,
) -> impl AsyncFn(Attempt) -> Result<Renewed<Token>, Failure> + 'static {
    let (identity, account) = (Arc::clone(identity), account.clone());
    let messenger = turn.messenger();
    async move |attempt: Attempt| {
        let variable = &account.variable;
        // Without a login a pasted token that was refused is the end of the account.
        let Some(login) = &account.login else {
            return Err(Failure::Final(Refusal::Token.into_error(variable)));
        };
        let mut answer = messenger
            .send(wire::login(&identity, &account, login))
            .await?;
        let head = call::head(attempt.unix_ms, &answer);
        let body = answer.short().await?;
        match refusal::data::<wire::LoggedIn>(head, &body) {
            // An empty token would be sent as `Bearer `, and refused as a missing one.
            Ok(wire::LoggedIn { user }) if !user.token.is_empty() => {
                let secret = Secret::new(user.token);
                let news = refusal::mute(user.chat.as_deref(), attempt.unix_ms);
                Ok(Renewed {
                    token: Token::new(secret.clone(), news),
                    expires: None,
                    keep: Some(secret),
                })
            }
            // A success without a token is a failure like any other.
            _ => Err(match refusal::login(head, &body, variable) {
                (error, true) => Failure::Final(error),
                (error, false) => Failure::Failed(error),
            }),
        }
    }
}
