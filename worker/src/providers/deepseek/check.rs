//! Whether the service takes an account's token, and whether the account may speak (`wire/deepseek.md` sections 2 and 3).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    DeepSeek,
    account::Account,
    call, refusal,
    wire::{self, Caller},
};
use crate::{
    accounts::{Quota, rotating::unix_ms},
    chat::{Kind, ProviderError},
    providers::Messenger,
};

/// The account, as `users/current` tells of it. The token in it is left alone: the one that was sent stays good.
#[derive(Deserialize)]
struct Current {
    chat: Option<Box<RawValue>>,
}

impl DeepSeek {
    /// See [`crate::providers::Provider::check`]. An account that has still to log in is not logged in for it: logins are
    /// counted.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let token = account.tokens.latest().ok_or_else(|| {
            ProviderError::new(
                Kind::NotConfigured,
                "the account has no token yet; its first turn logs in",
            )
        })?;
        let caller = Caller {
            identity: &self.identity,
            token: &token.secret,
            device_id: &account.device_id,
        };
        let mut answer = messenger.send(wire::current(caller)).await?;
        let now = unix_ms();
        let head = call::head(now, &answer);
        let body = answer.short().await?;
        let current: Current =
            refusal::data(head, &body).map_err(|refusal| refusal.into_error(&account.variable))?;
        // Known before the first question.
        match refusal::mute(current.chat.as_deref(), now) {
            Some(muted) => Err(muted),
            None => Ok(None),
        }
    }
}
