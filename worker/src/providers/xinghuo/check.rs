//! Whether the session is alive (`wire/xinghuo.md` section 2).

use super::{
    Xinghuo,
    account::Account,
    refusal,
    wire::{self, Caller, Envelope},
};
use crate::{accounts::Quota, chat::ProviderError, providers::Messenger};

impl Xinghuo {
    /// See [`crate::providers::Provider::check`]. What is left is said nowhere.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let caller = Caller {
            base_url: &self.base_url,
            account,
            form: self.form.unwrap_or_else(|| account.form()),
        };
        let mut answer = messenger.send(wire::user_info(caller)).await?;
        let status = answer.status.as_u16();
        let body = answer.short().await?;
        let envelope: Option<Envelope> = serde_json::from_slice(&body).ok();
        let checked = match envelope.filter(|_| status == 200) {
            Some(envelope) => envelope.into_data(&account.variable).map(|_| None),
            None => Err(refusal::refusal(status, &body, &account.variable)),
        };
        checked.map_err(|refusal| refusal.error)
    }
}
