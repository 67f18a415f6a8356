//! Whether the site takes an account's token: of its short calls this one alone says so (`wire/qwen_intl.md` section 2.1).

use super::{
    QwenIntl,
    account::Account,
    refusal::{self, Head},
    wire,
};
use crate::{
    accounts::Quota,
    chat::{Kind, ProviderError},
    providers::Messenger,
};

impl QwenIntl {
    /// See [`crate::providers::Provider::check`]. An account that has still to log in is not logged in for it: logins are
    /// counted.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let access = account.tokens.latest().ok_or_else(|| {
            ProviderError::new(
                Kind::NotConfigured,
                "the account has no token yet; its first turn logs in",
            )
        })?;
        let caller = account.caller(&self.site, Some(&access));
        let request = wire::who_am_i(caller, super::moment());
        let mut answer = messenger.send(request).await?;
        let head = Head::of(&answer);
        let body = answer.short().await?;
        if head.status == 200 && refusal::in_body(head, &body, &account.variable).is_none() {
            return Ok(None);
        }
        Err(refusal::refusal(head, &body, &account.variable).error)
    }
}
