//! Credentials renewed without a restart: the accounts file is looked at every second, checked as a whole, and
//! swapped in; a bad file is refused with a clear log line and the old credentials stay.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use crate::{http::App, settings::Vars};

const LOOK: Duration = Duration::from_secs(1);

/// Watches forever. `environment` are the process's own variables, which win over the file's.
pub async fn watch(app: Arc<App>, environment: Vars, path: PathBuf) {
    let mut known = fs::read(&path).ok();
    loop {
        tokio::time::sleep(LOOK).await;
        // Editors write in steps: a file that is missing or half written is looked at again.
        let Ok(content) = fs::read(&path) else {
            continue;
        };
        if known.as_ref() == Some(&content) {
            continue;
        }
        tokio::time::sleep(LOOK / 4).await;
        if fs::read(&path).ok().as_ref() != Some(&content) {
            continue;
        }
        known = Some(content);
        let renewed = environment
            .over_file(&path)
            .map_err(|problem| vec![problem])
            .and_then(|vars| app.registry.renew(&vars));
        match renewed {
            Ok(()) => tracing::info!(file = %path.display(), "accounts renewed"),
            Err(problems) => {
                tracing::error!(file = %path.display(), problems = problems.join("; "), "accounts file refused; the old accounts stay")
            }
        }
    }
}
