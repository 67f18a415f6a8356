//! No two turns share a window. The service gives the same blank window to everybody who asks for one until somebody
//! has spoken in it (wire/xinghuo.md section 4.2). So one turn at a time is between opening a window and asking in it;
//! and a window that a failed turn left blank is not taken over while that turn is about to delete it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

use super::account::Account;
use crate::accounts::Secret;

/// The locks of the logins and windows in use. They are found by the login and not kept in the pool's entry: a
/// renewed GT_TOKEN, or a cookie that moves to another number, makes a new entry while turns of the old one still run.
#[derive(Default)]
pub(super) struct Windows(Mutex<Vec<(Secret, Weak<tokio::sync::Mutex<()>>)>>);

impl Windows {
    /// Waits for the account's turn, first come first served.
    pub(super) async fn enter(&self, account: &Account) -> OwnedMutexGuard<()> {
        self.lock_of(account.session()).lock_owned().await
    }

    /// Makes a window the turn's own, until the guard is dropped. `None`: it is another turn's.
    pub(super) fn claim(&self, account: &Account, chat_id: &str) -> Option<OwnedMutexGuard<()>> {
        self.lock_of(&window(account, chat_id))
            .try_lock_owned()
            .ok()
    }

    /// Waits until a window is nobody's.
    pub(super) async fn released(&self, account: &Account, chat_id: &str) {
        drop(self.lock_of(&window(account, chat_id)).lock_owned().await);
    }

    fn lock_of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        // A std lock: held for a few comparisons, and turns of all threads come here.
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Forgotten when nobody waits: a login's lock is needed while its turns run.
        locks.retain(|(_, lock)| lock.strong_count() > 0);
        let known = locks
            .iter()
            .find(|(known, _)| known.expose() == name)
            .and_then(|(_, lock)| lock.upgrade());
        known.unwrap_or_else(|| {
            let lock = Arc::default();
            locks.push((Secret::new(name), Arc::downgrade(&lock)));
            lock
        })
    }
}

/// A line feed is in no cookie, so this is no login's name.
fn window(account: &Account, chat_id: &str) -> String {
    format!("{}\n{chat_id}", account.session())
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Windows")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn account(cookie: &str, gt_token: &str) -> Account {
        Account {
            cookie: Secret::new(cookie),
            gt_token: Some(Secret::new(gt_token)),
            variable: "XINGHUO_COOKIE".to_owned(),
            answered: Default::default(),
        }
    }

    #[tokio::test]
    async fn one_login_one_lock_whatever_else_changes() {
        let windows = Windows::default();
        let first = windows.enter(&account("ssoSessionId=a; x=1", "t")).await;
        let other = windows.enter(&account("ssoSessionId=b", "t")).await;
        let renewed = account("x=2; ssoSessionId=a", "u");
        let mut waiting = Box::pin(windows.enter(&renewed));
        assert!((&mut waiting).now_or_never().is_none());
        drop(first);
        assert!((&mut waiting).now_or_never().is_some());
        drop((other, waiting));
        let _ = windows.enter(&account("c=d", "t")).await;
        assert_eq!(
            windows.0.lock().unwrap().len(),
            1,
            "unused locks are forgotten"
        );
    }

    #[tokio::test]
    async fn a_window_has_one_owner() {
        let (windows, account) = (Windows::default(), account("ssoSessionId=a", "t"));
        let claim = windows.claim(&account, "1").unwrap();
        assert!(windows.claim(&account, "1").is_none());
        assert!(windows.claim(&account, "2").is_some());
        let mut waiting = Box::pin(windows.released(&account, "1"));
        assert!((&mut waiting).now_or_never().is_none());
        drop(claim);
        assert!((&mut waiting).now_or_never().is_some());
        assert!(windows.claim(&account, "1").is_some());
    }
}
