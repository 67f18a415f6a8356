//! What providers do apart from any turn: at start and every hour each may look at its service's own list of models, so that
//! a new one is listed without a release ([`crate::providers::Provider::upkeep`]).

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::impossible::OrImpossible as _;
use crate::{app::App, providers::Messenger, upstream::Client};

const EVERY: Duration = Duration::from_secs(3600);

/// Runs for ever, on the thread that it is started on.
pub async fn run(app: Arc<App>) {
    let settings = &app.settings;
    let client = Client::with_proxies(
        settings.upstream.timeouts,
        Arc::clone(&settings.upstream.proxies),
    );
    loop {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.or_impossible("a clock is past 1970").as_secs();
        // One after the other: nobody waits for it, and no burst of calls leaves the worker at its start.
        for provider in app.registry.providers() {
            let messenger = Messenger::new(provider.name(), client.clone());
            provider.upkeep(messenger, now).await;
        }
        tokio::time::sleep(EVERY).await;
    }
}
