//! The clients that are connected, and the runs that are told to them. Source: wire/langfast.md §6, §8.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::value::RawValue;
use socketioxide::{SendError, extract::SocketRef};
use tokio::{sync::watch, time::sleep};

use super::{account::Accounts, events::DISCONNECT};
use crate::{
    Control,
    control::Answering,
    reply::{Act, Acts},
};

/// How soon a client whose buffer is full is tried again.
const AGAIN: Duration = Duration::from_millis(2);

/// What the HTTP side and the socket side share.
#[derive(Default)]
pub(super) struct Hub {
    pub(super) accounts: Mutex<Accounts>,
    pub(super) control: OnceLock<Arc<Control>>,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    by_number: BTreeMap<u64, Client>,
    count: u64,
}

struct Client {
    user: String,
    socket: SocketRef,
    tcp: Arc<TcpStream>,
    /// Whether a run counts as this client's own.
    has_run: bool,
    was_cut: bool,
    gone: watch::Sender<bool>,
}

/// The client that a run is believed to be for.
pub(super) struct Owner {
    number: u64,
    gone: watch::Receiver<bool>,
}

impl Hub {
    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, user: &str, socket: SocketRef, tcp: Arc<TcpStream>) -> u64 {
        let mut clients = self.clients();
        clients.count += 1;
        let number = clients.count;
        let client = Client {
            user: user.to_owned(),
            socket,
            tcp,
            has_run: false,
            was_cut: false,
            gone: watch::Sender::new(false),
        };
        clients.by_number.insert(number, client);
        number
    }

    /// The client is gone. Says whether that was its own doing.
    pub(super) fn leave(&self, number: u64) -> bool {
        let client = self.clients().by_number.remove(&number);
        client.is_some_and(|client| {
            client.gone.send_replace(true);
            !client.was_cut
        })
    }

    /// Cuts all connections: nobody is left to serve them.
    pub(super) fn clear(&self) {
        let clients = std::mem::take(&mut self.clients().by_number);
        for client in clients.into_values() {
            // Whatever is wrong with a connection, it is over.
            let _cut = client.tcp.shutdown(Shutdown::Both);
        }
    }

    /// The user's oldest client without a run. One client may use a user for several requests at once, and events do
    /// not say which of its sockets a run is for: they go to all of them, and only the log depends on this guess.
    pub(super) fn owner(&self, user: &str) -> Option<Owner> {
        let mut clients = self.clients();
        let mut own = clients
            .by_number
            .iter_mut()
            .filter(|(_, own)| own.user == user);
        let (number, client) = own.find(|(_, client)| !client.has_run)?;
        client.has_run = true;
        Some(Owner {
            number: *number,
            gone: client.gone.subscribe(),
        })
    }

    fn sockets(&self, user: &str) -> Vec<SocketRef> {
        let clients = self.clients();
        let own = clients.by_number.values().filter(|own| own.user == user);
        own.map(|own| own.socket.clone()).collect()
    }

    /// Cuts a client's connection, without a word.
    fn cut(&self, owner: u64) {
        if let Some(client) = self.clients().by_number.get_mut(&owner) {
            client.was_cut = true;
            // Whatever is wrong with the connection, it is over.
            let _cut = client.tcp.shutdown(Shutdown::Both);
        }
    }

    /// Plays a run until it ends, or until nobody listens any more.
    pub(super) async fn play(
        &self,
        user: String,
        owner: Owner,
        acts: Acts,
        mut answering: Answering,
    ) {
        let (number, mut gone) = (watch::Sender::new(owner.number), owner.gone.clone());
        let left = async {
            loop {
                // An error means that the sender is gone, and the client with it.
                drop(gone.wait_for(|gone| *gone).await);
                // Who owns a run is a guess: where another client of the user has none (any more), the run is that one's, and
                // the client that left had been told its own to the end.
                let Some(other) = self.owner(&user) else {
                    break;
                };
                number.send_replace(other.number);
                gone = other.gone;
            }
        };
        let aborted = tokio::select! {
            biased;
            () = left => true,
            () = self.tell(&user, &number, acts, &mut answering) => false,
        };
        let owner = *number.borrow();
        if !aborted {
            answering.over();
        }
        if let Some(client) = self.clients().by_number.get_mut(&owner) {
            client.has_run = false;
        }
    }

    async fn tell(
        &self,
        user: &str,
        owner: &watch::Sender<u64>,
        acts: Acts,
        answering: &mut Answering,
    ) {
        for act in acts {
            match act {
                Act::Send(bytes) if bytes == DISCONNECT => {
                    for socket in self.sockets(user) {
                        let _gone = socket.disconnect();
                    }
                }
                Act::Send(bytes) | Act::Say(bytes) => {
                    answering.sent(bytes.len());
                    self.emit(user, &bytes).await;
                }
                Act::Pause(time) => sleep(time).await,
                Act::Done => answering.over(),
                Act::Hang => std::future::pending().await,
                Act::Break => {
                    answering.over();
                    return self.cut(*owner.borrow());
                }
            }
        }
    }

    /// Sends `["name",payload]` to all sockets of the user.
    async fn emit(&self, user: &str, event: &Bytes) {
        let Ok((name, payload)) = serde_json::from_slice::<(String, Box<RawValue>)>(event) else {
            return;
        };
        for socket in self.sockets(user) {
            // A full buffer waits for a slow client; other errors mean that it is gone, and `leave` hears of that.
            while let Err(SendError::Socket(socketioxide::SocketError::InternalChannelFull)) =
                socket.emit(&name, &payload)
            {
                sleep(AGAIN).await;
            }
        }
    }
}
