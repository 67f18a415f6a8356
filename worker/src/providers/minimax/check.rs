//! Whether the service takes an account's token, and the credits that it has left (`wire/minimax.md` section 3).

use super::{MiniMax, account::Account, answers, call::Call, wire};
use crate::{accounts::Quota, chat::ProviderError, providers::Messenger};

impl MiniMax {
    /// See [`crate::providers::Provider::check`].
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let renewal = account.renewal(messenger.clone(), &self.site);
        let access = account.tokens.current(renewal).await?;
        let call = Call {
            messenger: messenger.clone(),
            site: &self.site,
            account,
            access: &access,
            user: None,
        };
        let body = call.json(wire::membership(call.caller())).await;
        let body = body.map_err(|refusal| refusal.error)?;
        account.tokens.served(&access);
        Ok(answers::credits(&body).map(|left| Quota {
            left,
            unit: "credits".to_owned(),
        }))
    }
}
