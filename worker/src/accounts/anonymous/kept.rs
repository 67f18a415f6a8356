//! A pool's guests in the cluster's store: written behind, held while this worker has them, left to others at its end.

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use super::{Guests, own};
use crate::{
    accounts::{
        guest::{Found, Issued},
        guestbook::{Entry, ToDo},
        guestroom::{Room, Stay, Stored},
        health::Now,
    },
    store::StoreError,
};

/// Makes one thing of another where it can.
type Make<In, Out> = Box<dyn Fn(&In) -> Option<Out> + Send + Sync>;

/// Makes a text of a credential and a credential of a text.
pub(super) struct Carry<C> {
    /// `None`: of this one it cannot.
    pub(super) write: Make<C, String>,
    /// `None`: it is for another service, or was written otherwise.
    pub(super) read: Make<str, C>,
}

impl<C: Send + Sync + 'static> Guests<C> {
    /// The part of the store that the guests lie in, once there is one.
    fn room(&self) -> Option<(Room, &Carry<C>)> {
        let (kept, carry) = self.carry.as_ref()?;
        let (provider, _) = self.company.get()?;
        let cluster = kept.shared().cluster()?;
        Some((Room::new(provider, cluster), carry))
    }

    /// Takes in a guest of the store in the place of a sign-up (or of a look for one); whether there was one.
    pub(super) async fn take_in(&self, is_sign_up: bool) -> bool {
        let Some((room, carry)) = self.room() else {
            return false;
        };
        let Some((stored, stay, credential)) = room.take_in(&carry.read).await else {
            return false;
        };
        let now = Now::read();
        let left = stored.ends_ms.saturating_sub(now.unix_ms);
        let found = Found {
            issued: Issued {
                credential,
                lifetime: Duration::from_millis(left),
            },
            standing: stored.standing,
            stay,
        };
        self.book().taken_in(found, is_sign_up, now);
        true
    }

    /// Writes, holds and gives back what is due.
    pub(super) async fn keep(&self) {
        let Some((room, carry)) = self.room().filter(|(room, _)| room.is_up()) else {
            return;
        };
        // One at a time: a guest that two put into the store would be two there.
        let _one = self.keeping.lock().await;
        self.strike_out(&room).await;
        let entries = self.book().entries(room.lost(), Now::read());
        for entry in entries {
            let Some(credential) = (carry.write)(&entry.credential) else {
                continue;
            };
            let stored = Stored {
                credential,
                ends_ms: entry.ends_ms,
                standing: entry.standing.clone(),
            };
            match enter(&room, &entry, &stored).await {
                Ok(Some(stay)) => self.book().entered(&entry, stay, Instant::now()),
                Ok(None) => self.book().lose(entry.number),
                // The store is gone; what is left to do is found again.
                Err(_) => return,
            }
        }
        let surplus = self.book().take_surplus(room.lost());
        give_back(&room, surplus).await;
    }

    /// Those that the service does not know any more.
    async fn strike_out(&self, room: &Room) {
        let gone = self.book().take_gone();
        for stay in gone {
            if room.check_out(&stay).await.is_err() {
                self.book().put_back_gone(stay);
            }
        }
    }

    /// Leaves all of them to the other workers, or to the next process.
    pub(super) fn part(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            if let Some((provider, company)) = self.company.get() {
                self.own.leave(company, &own(provider)).await;
            }
            self.keep().await;
            if let Some((room, _)) = self.room() {
                let all = self.book().take_all(room.lost());
                give_back(&room, all).await;
            }
        })
    }
}

/// Does what is to be done for one guest; `None`: it is another worker's.
async fn enter<C>(
    room: &Room,
    entry: &Entry<C>,
    stored: &Stored,
) -> Result<Option<Stay>, StoreError> {
    let Some(mut stay) = entry.stay.clone() else {
        return room.check_in(stored).await.map(Some);
    };
    let ToDo { hold, write } = entry.to_do;
    let is_ours =
        (!hold || room.hold(&mut stay).await?) && (!write || room.write(&mut stay, stored).await?);
    Ok(is_ours.then_some(stay))
}

async fn give_back(room: &Room, stays: Vec<Stay>) {
    for stay in stays {
        // Where that fails its time runs out by itself.
        let _ = room.give_back(&stay).await;
    }
}

impl<C> std::fmt::Debug for Carry<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carry").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
