//! Upstream conversations that nobody has gone on with for `CONVERSATION_TTL` are deleted there, also those of workers that
//! are gone: by one worker at a time, whichever has the lease.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use crate::{
    app::{self, App},
    conversations::{Conversations, Idle},
    providers::{Job, dispatch},
    settings,
    upstream::Client,
};

/// Between two looks: a part of the time that a conversation may be idle, in these bounds.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(60);
const LOOKS: u32 = 4;
/// The name of the lease.
const TURN: &str = "idle conversations";
/// How long whoever looks is alone with it. Two that delete the same conversation do no harm.
const LEASE: Duration = Duration::from_secs(30);
/// Time for all turns of the cluster to say anew that they are under way.
const ANEW: Duration = Duration::from_secs(15);
/// Conversations of one look that are deleted together, and how often that is done; what is left waits for the next.
const AT_ONCE: usize = 8;
const ROUNDS: usize = 50;

/// Runs for ever, on the thread that it is started on.
pub async fn run(app: Arc<App>) {
    let settings = &app.settings;
    let conversations = match (&app.conversations, settings.providers.conversations) {
        (Some(conversations), _) => Arc::clone(conversations),
        // Those of a time when they continued are not left there for ever.
        (None, settings::Conversations::Delete) => {
            Arc::new(app::conversations(settings, &app.store))
        }
        (None, settings::Conversations::Keep | settings::Conversations::Reuse) => return,
    };
    let client = Client::with_proxies(
        settings.upstream.timeouts,
        Arc::clone(&settings.upstream.proxies),
    );
    let job = Job {
        client,
        settings: Arc::clone(settings),
        memory: app.memory.clone(),
        janitor: app.janitor,
        cut: app.cut.subscribe(),
        caller: 0,
        client_name: "".into(),
        client_id: "".into(),
        conversations: None,
        marks: app.marks.clone(),
        lasting: Arc::clone(&app.lasting),
    };
    let every = (conversations.idle() / LOOKS).clamp(OFTEN, SELDOM);
    let store = app.store.at_leisure();
    loop {
        tokio::time::sleep(every).await;
        let name = &settings.worker_name;
        // One worker's turn; the others look again later.
        match store.hold(TURN, name, 1, LEASE).await {
            Ok(Some(_)) => {
                look(&app, &job, &conversations).await;
                let _ = store.release(TURN, name).await;
            }
            // While it is gone, turns that are under way cannot say so; they are to do that first.
            Err(_) if !store.is_up() => tokio::time::sleep(ANEW).await,
            Ok(None) | Err(_) => {}
        }
    }
}

async fn look(app: &App, job: &Job, conversations: &Conversations) {
    for _ in 0..ROUNDS {
        let Ok(idle) = conversations.idle_ones(AT_ONCE).await else {
            return;
        };
        if idle.is_empty() {
            return;
        }
        join_all(
            idle.iter()
                .map(|idle| delete(app, job, conversations, idle)),
        )
        .await;
    }
}

async fn delete(app: &App, job: &Job, conversations: &Conversations, idle: &Idle) {
    let owner = idle.owner();
    let mut providers = app.registry.providers().iter();
    let provider = providers.find(|provider| provider.name() == owner.provider);
    let account = provider.and_then(|it| it.accounts().numbered(&owner.account));
    let (Some(provider), Some(account)) = (provider, account) else {
        // Nobody here can; the account's own history keeps it.
        tracing::info!(
            provider = owner.provider,
            "an idle conversation stays: its account is gone"
        );
        conversations.forget(idle).await;
        return;
    };
    match dispatch::abandon(job, provider, account, idle.thread()).await {
        Ok(()) => conversations.forget(idle).await,
        Err(error) => {
            if !conversations.later(idle).await {
                tracing::warn!(
                    provider = owner.provider,
                    account,
                    kind = error.kind.label(),
                    "an idle conversation stays: it could not be deleted"
                );
            }
        }
    }
}
