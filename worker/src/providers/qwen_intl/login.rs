//! A token by e-mail address and password: tried once, for everybody who waits for it. Source: `wire/qwen_intl.md` section
//! 2.2.

use std::{sync::Arc, time::Duration};

use super::{
    account::{Access, Account, moment},
    refusal::{self, Head},
    site::Site,
    wire::{self, Api},
};
use crate::{
    accounts::{
        jwt::Claims,
        rotating::{Attempt, Failure, Renewed},
    },
    chat::{Kind, ProviderError},
    providers::{Messenger, Turn},
};

/// Logins are limited by address, and told so with the firewall's page: no other one for so long.
const AFTER_CHECK: Duration = Duration::from_secs(30 * 60);

/// The account's token, by a login where it has none that lasts.
///
/// # Errors
/// Why there is none. One that has ended is not sent: the service would only say the same.
pub(super) async fn token(
    site: &Arc<Site>,
    turn: &Turn,
    account: &Account,
) -> Result<Arc<Access>, ProviderError> {
    let renewal = renewal(site, account, turn.messenger());
    let access = account.tokens.current(renewal).await?;
    // Not before: a login may just have brought another one.
    if access.has_ended(turn.unix_ms() / 1000) {
        return Err(refusal::expired(&account.variable).error);
    }
    Ok(access)
}

/// How an account logs in ([`crate::accounts::rotating::Rotating::current`]).
pub(super) fn renewal(
    site: &Arc<Site>,
    account: &Account,
    messenger: Messenger,
) -> impl AsyncFn(Attempt) -> Result<Renewed<Access>, Failure> + 'static {
    let (site, account) = (Arc::clone(site), account.clone());
    async move |_attempt: Attempt| {
        // Without a login a token is final: [`Failure::Final`] stops asking.
        let Some(login) = &account.login else {
            return Err(Failure::Final(refusal::expired(&account.variable).error));
        };
        let caller = account.caller(&site, None);
        let request = wire::login(caller.clone(), Api::V2, login, moment());
        let mut answer = messenger.send(request).await?;
        // Section 2.2: older sites have the older call only, with the same body.
        if answer.status.as_u16() == 404 {
            let request = wire::login(caller, Api::V1, login, moment());
            answer = messenger.send(request).await?;
        }
        let head = Head::of(&answer);
        let body = answer.short().await?;
        let is_refused =
            head.status >= 300 || refusal::in_body(head, &body, &account.variable).is_some();
        // A refusal may set a cookie as well.
        if let Some(token) = wire::logged_in(&answer, &body).filter(|_| !is_refused) {
            return Ok(Renewed {
                expires: Claims::read(token.expose()).and_then(|claims| claims.expires()),
                token: account.access(token.clone()),
                keep: Some(token),
            });
        }
        let (error, is_final) = refusal::login(head, &body, &account.login_variable());
        Err(match error.kind {
            _ if is_final => Failure::Final(error),
            // The limit is by address: another account's login would meet it as well.
            Kind::Verification => Failure::Failed(error.with_retry_after(Some(AFTER_CHECK))),
            _ => Failure::Failed(error),
        })
    }
}
