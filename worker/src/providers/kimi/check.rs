//! Whether the service takes an account's token: its own health check (`wire/kimi.md` section 3).

use super::{
    Kimi, account::Account, refusal::Refusal, session, session::Access, wire, wire::Caller,
};
use crate::{
    accounts::{Quota, rotating::unix_ms},
    chat::{Kind, ProviderError},
    providers::Messenger,
};

impl Kimi {
    /// See [`crate::providers::Provider::check`]. What is left is said nowhere.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let now = unix_ms() / 1000;
        let access = session::access(account, messenger, &self.hosts, now).await?;
        let access = match self.subscription(account, messenger, &access).await {
            Err(error) if error.kind == Kind::AuthExpired => {
                let access =
                    session::replaced(account, messenger, &self.hosts, &access, error).await?;
                self.subscription(account, messenger, &access).await?;
                access
            }
            result => result.map(|()| access)?,
        };
        account.session.tokens.served(&access);
        Ok(None)
    }

    async fn subscription(
        &self,
        account: &Account,
        messenger: &Messenger,
        access: &Access,
    ) -> Result<(), ProviderError> {
        let caller = Caller {
            hosts: &self.hosts,
            access,
        };
        let mut answer = messenger.send(wire::subscription(caller)).await?;
        let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
        let body = answer.short().await?;
        if status == 200 {
            return Ok(());
        }
        let error = Refusal::http(status, &body).into_error(&account.variable);
        let own = error.retry_after;
        Err(error.with_retry_after(retry_after.or(own)))
    }
}
