//! Whose cookies these are (`wire/metaso.md` section 2).

use super::{
    Metaso,
    account::Account,
    refusal::{self, Asker},
    wire,
};
use crate::{accounts::Quota, chat::ProviderError, providers::Messenger};

impl Metaso {
    /// See [`crate::providers::Provider::check`]. What is left is said nowhere.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        if account.standing.is_new() {
            // A browser has been on the home page before, and has its cookies.
            let cookie = account.standing.cookie();
            let request = wire::home(self.caller(&cookie));
            let mut page = messenger.send(request).await?;
            account.standing.merge(page.headers("set-cookie"));
            // Read to its end; what it says is a turn's affair.
            let _ = page.short().await;
        }
        let cookie = account.standing.cookie();
        let request = wire::my_info(self.caller(&cookie));
        let mut answer = messenger.send(request).await?;
        account.standing.merge(answer.headers("set-cookie"));
        let status = answer.status.as_u16();
        let body = answer.short().await?;
        let asker = Asker {
            variable: &account.variable,
            may_lack_cookies: account.may_lack_cookies(),
        };
        if refusal::is_stranger(status, &body) {
            return Err(refusal::expired(asker));
        }
        if status != 200 {
            return Err(refusal::refusal(status, &body, asker).error);
        }
        account.standing.introduced();
        Ok(None)
    }
}
