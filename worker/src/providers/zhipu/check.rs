//! Whether the service takes an account's token, and how many points it has left (`wire/zhipu.md` section 2).

use serde::Deserialize;
use serde_json::Value;

use super::{
    Zhipu,
    account::{Access, Account, moment},
    refusal::{self, Refusal, Remedy},
    wire,
};
use crate::{accounts::Quota, chat::ProviderError, providers::Messenger, upstream::Request};

/// `member_info`: in hundredths of a point.
#[derive(Deserialize)]
struct Member {
    left_score: f64,
}

impl Zhipu {
    /// See [`crate::providers::Provider::check`]. Points are for pictures and films; chats cost none.
    pub(super) async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let renewal = || account.renewal(messenger.clone(), &self.site);
        let mut access = account.tokens.current(renewal()).await?;
        let user = |access: &Access| wire::user_info(self.caller(access), moment());
        if let Err(refusal) = self.asked::<Value>(account, messenger, user(&access)).await {
            match refusal.remedy {
                Remedy::NewToken => {
                    let replaced = account.tokens.replaced(&access, refusal.error, renewal());
                    access = replaced.await?;
                }
                Remedy::NewSignature => {}
                Remedy::None | Remedy::Wait => return Err(refusal.error),
            }
            let again = self.asked::<Value>(account, messenger, user(&access)).await;
            again.map_err(|refusal| refusal.error)?;
        }
        account.tokens.served(&access);
        // That the points are not told is no fault of the account.
        let request = wire::member_info(self.caller(&access), moment());
        let member = self.asked::<Member>(account, messenger, request).await;
        Ok(member.ok().map(|member| Quota {
            left: member.left_score / 100.0,
            unit: "points".to_owned(),
        }))
    }

    /// The result of a short call.
    async fn asked<T: serde::de::DeserializeOwned>(
        &self,
        account: &Account,
        messenger: &Messenger,
        request: Request,
    ) -> Result<T, Refusal> {
        let mut answer = messenger.send(request).await?;
        let status = answer.status.as_u16();
        let body = answer.short().await?;
        let result = wire::result(&body).filter(|_| status == 200);
        result.ok_or_else(|| refusal::refusal(status, &body, &account.variable))
    }
}
