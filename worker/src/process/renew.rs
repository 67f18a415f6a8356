//! Credentials and keys renewed without a restart: the accounts file is looked at every second, checked as a whole, and
//! swapped in. What is bad, empty, gone or half written is refused with a clear log line, and everything stays as it was.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc, time::Duration};

use super::serve::Sources;
use crate::{
    app::App,
    doctor::names::{Standing, standing},
    providers::{Registry, registry},
    settings::{Problems, Settings, Vars, is_credential},
};

const LOOK: Duration = Duration::from_secs(1);
/// Looks at which a file has to be the same, after the first, before it counts.
const LOOKS: u32 = 1;
/// The same where something would be lost: more likely that somebody is still writing.
const LOOKS_BEFORE_A_LOSS: u32 = 3;
/// What clients present.
const KEYS: [&str; 2] = ["API_MASTER_KEY", "API_KEYS"];

/// Watches forever.
pub async fn watch(app: Arc<App>, sources: Sources) {
    let path = sources.path;
    // Read anew here: what the worker was started with is the environment and this.
    let mut watched = Watched::new(sources.environment, sources.started, fs::read(&path).ok());
    loop {
        watched.look(fs::read(&path), &app, &path);
        // What has just changed is looked at again soon.
        let is_changing = watched.pending.is_some();
        // Four looks a second while it changes, so that a change is in force within two.
        tokio::time::sleep(if is_changing { LOOK / 4 } else { LOOK }).await;
    }
}

/// The file over time.
struct Watched {
    environment: Vars,
    /// What the worker began with: some of it lasts until its end.
    started: Vars,
    /// The file whose variables are in force; `None`: there is none.
    in_force: Option<Vec<u8>>,
    /// The file about which all has been said.
    judged: Option<Vec<u8>>,
    /// A file that has changed, and the looks at which it was the same since.
    pending: Option<(Vec<u8>, u32)>,
    is_gone: bool,
}

/// What a file brings that may be put in place.
struct Renewal {
    file: Vars,
    vars: Vars,
    settings: Settings,
}

impl Watched {
    fn new(environment: Vars, started: Vars, content: Option<Vec<u8>>) -> Self {
        Self {
            environment,
            started,
            in_force: content.clone(),
            judged: content,
            pending: None,
            is_gone: false,
        }
    }

    /// Takes what a look has found.
    fn look(&mut self, content: io::Result<Vec<u8>>, app: &App, path: &Path) {
        let file = path.display();
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                self.pending = None;
                if self.judged.is_some() && !self.is_gone {
                    self.is_gone = true;
                    tracing::error!(%file, %error, "accounts file cannot be read; the old accounts stay, and the old keys");
                }
                return;
            }
        };
        if std::mem::take(&mut self.is_gone) {
            tracing::info!(%file, "accounts file can be read again");
        }
        // Judged, for better or worse: nothing is said twice about the same bytes.
        if self.judged.as_ref() == Some(&content) {
            self.pending = None;
            return;
        }
        // Editors write in steps: it has to stay as it is for a while.
        let looks = match self.pending.take() {
            Some((pending, looks)) if pending == content => looks + 1,
            _ => 0,
        };
        let judged = self.judge(&content, app);
        let lost = judged
            .as_ref()
            .map_or(0, |renewal| self.lost(renewal).len());
        let wanted = if lost > 0 || judged.is_err() {
            LOOKS_BEFORE_A_LOSS
        } else {
            LOOKS
        };
        if looks < wanted {
            self.pending = Some((content, looks));
            return;
        }
        self.judged = Some(content.clone());
        // Settings only where the providers took all of it: the two belong together.
        let put = judged.and_then(|renewal| {
            app.roster.renew(&app.registry, renewal.vars.clone())?;
            app.lasting.forget();
            app.keys.renew(&renewal.settings.http.api_keys);
            Ok(renewal)
        });
        match put {
            Ok(renewal) => {
                self.report(&renewal, path);
                self.in_force = Some(content);
            }
            Err(problems) => {
                tracing::error!(%file, problems = problems.join("; "), "accounts file refused; the old accounts stay, and the old keys");
            }
        }
    }

    /// The variables in force.
    fn vars(&self) -> Vars {
        self.environment.over(self.file())
    }

    fn file(&self) -> Vars {
        let bytes = self.in_force.as_deref().unwrap_or_default();
        // It is in force, so it could be read.
        Vars::parse(bytes).unwrap_or_default()
    }

    /// Whether a file may be put in place: a worker could start with it, and it leaves something to serve with.
    fn judge(&self, content: &[u8], app: &App) -> Result<Renewal, Vec<String>> {
        let file = Vars::parse(content).map_err(|problem| vec![problem])?;
        let old = self.in_force.as_deref().unwrap_or_default();
        if file == Vars::default() && self.file() != Vars::default() {
            return Err(vec!["the file sets nothing any more".to_owned()]);
        }
        if !content.ends_with(b"\n") && content.len() < old.len() && old.starts_with(content) {
            return Err(vec![
                "the file stops amid what it was before, so it is half written".to_owned(),
            ]);
        }
        let vars = self.environment.over(file.clone());
        let mut problems = Problems::default();
        let settings = Settings::read(&vars, &mut problems);
        // Accounts that were added count as well.
        let all = app.roster.with_added(&vars);
        let registry = Registry::new(&all, &settings, &mut problems);
        // A worker without accounts is no error at its start, but a file that takes the last ones away is more likely a
        // mistake.
        if has_accounts(&app.registry) && !has_accounts(&registry) {
            problems.push("no provider would have an account any more".to_owned());
        }
        if settings.http.api_keys.is_empty()
            && KEYS.iter().any(|name| self.vars().get(name).is_some())
        {
            problems.push("no key would be left".to_owned());
        }
        // Warnings are said when the providers take it over.
        let renewal = Renewal {
            file,
            vars,
            settings,
        };
        problems.over(renewal).map(|(renewal, _)| renewal)
    }

    /// Credentials and keys that were set and are not any more.
    fn lost(&self, renewal: &Renewal) -> Vec<String> {
        let before = self.vars();
        let changed = before.differing(&renewal.vars);
        changed
            .into_iter()
            // Unknown names are none of ours, whatever they held.
            .filter(|name| is_known(name) && is_credential(name) || KEYS.contains(name))
            .filter(|name| renewal.vars.get(name).is_none())
            .map(str::to_owned)
            .collect()
    }

    /// Says what has changed, and what of it has no effect.
    fn report(&self, renewal: &Renewal, path: &Path) {
        let file = path.display();
        let (before, old) = (self.vars(), self.file());
        let changed = before.differing(&renewal.vars);
        let of = |is_wanted: &dyn Fn(&str) -> bool| {
            let names = changed.iter().copied();
            names
                .filter(|name| is_known(name) && is_wanted(name))
                .collect::<BTreeSet<&str>>()
        };
        let keys = of(&|name| KEYS.contains(&name));
        let accounts = of(&|name| !KEYS.contains(&name) && self.is_renewable(name));
        let later = of(&|name| !KEYS.contains(&name) && !self.is_renewable(name));
        if !accounts.is_empty() {
            tracing::info!(%file, variables = list(&accounts), "accounts renewed");
        }
        if !keys.is_empty() {
            tracing::info!(%file, variables = list(&keys), "keys renewed");
        }
        let lost = self.lost(renewal);
        if !lost.is_empty() {
            tracing::warn!(%file, variables = lost.join(", "), "no longer set: their accounts or keys are gone");
        }
        if !later.is_empty() {
            tracing::warn!(%file, variables = list(&later), "changed, but in force after a restart only (scripts/roll)");
        }
        // The file's own changes, which the environment hides.
        let fixed = old.differing(&renewal.file).into_iter();
        let fixed = fixed.filter(|name| is_known(name) && self.environment.get(name).is_some());
        let fixed: BTreeSet<&str> = fixed.collect();
        if !fixed.is_empty() {
            tracing::warn!(%file, variables = list(&fixed), "changed, but without effect: the process environment has them and wins");
        }
    }

    /// Whether providers take a change of a variable over: a credential, of a lane only where the lane was there when
    /// the worker began.
    fn is_renewable(&self, name: &str) -> bool {
        // A lane is made at the start; its key alone can be renewed.
        let is_there = |address: String| self.started.get(&address).is_some();
        is_credential(name) && registry::address_of(name).is_none_or(is_there)
    }
}

/// A piece of a broken value can look like a name, so only those that somebody reads are said.
fn is_known(name: &str) -> bool {
    standing(name) == Standing::Known
}

fn has_accounts(registry: &Registry) -> bool {
    let mut providers = registry.providers().iter();
    providers.any(|provider| provider.accounts().is_configured())
}

fn list(names: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = names.iter().copied().collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "API_MASTER_KEY=sk-old\nKIMI_TOKEN=one\nKIMI_TOKEN_2=two\n";

    struct Scene {
        watched: Watched,
        app: App,
    }

    impl Scene {
        fn new(environment: &[(&str, &str)], file: &str) -> Self {
            let environment = Vars::new(environment.iter().copied());
            let vars = environment.over(Vars::parse(file.as_bytes()).unwrap());
            let mut problems = Problems::default();
            let settings = Settings::read(&vars, &mut problems);
            let registry = Registry::new(&vars, &settings, &mut problems);
            assert!(problems.errors.is_empty(), "{problems:?}");
            Self {
                watched: Watched::new(environment, vars, Some(file.into())),
                app: App::new(settings, registry),
            }
        }

        /// As many looks as any file needs.
        fn see(&mut self, content: &str) {
            for _ in 0..5 {
                self.look(Ok(content.into()));
            }
        }

        fn look(&mut self, content: io::Result<Vec<u8>>) {
            self.watched.look(content, &self.app, Path::new(".env"));
        }

        fn opens(&self, key: &str) -> bool {
            self.app.keys.opens(key)
        }

        fn accounts(&self) -> usize {
            let providers = self.app.registry.providers().iter();
            providers
                .map(|provider| provider.accounts().census().ready)
                .sum()
        }
    }

    #[test]
    fn keys_and_accounts_are_taken_over_together() {
        let mut scene = Scene::new(&[], OLD);
        assert_eq!((scene.opens("sk-old"), scene.accounts()), (true, 2));
        scene.see("API_KEYS='bob:sk-bob'\n\u{feff}API_MASTER_KEY=\"sk-new\"\r\nKIMI_TOKEN=one\n");
        assert!(!scene.opens("sk-old"));
        assert!(scene.opens("sk-new") && scene.opens("sk-bob"));
        assert_eq!(scene.accounts(), 1);
    }

    #[test]
    fn what_is_bad_changes_nothing() {
        for bad in [
            "",
            "\n\n",
            "# all of it is gone\n",
            // No account.
            "API_MASTER_KEY=sk-new\n",
            "API_MASTER_KEY=sk-new\nKIMI_TOKEN=your-token-here\n",
            // No key.
            "KIMI_TOKEN=one\nKIMI_TOKEN_2=two\n",
            "API_MASTER_KEY=\nKIMI_TOKEN=three\n",
            // Half of what it was.
            "API_MASTER_KEY=sk-old\nKIMI_TOKEN=on",
            "API_MASTER_KEY=sk-o",
            // A worker would not start with it.
            "API_MASTER_KEY=钥匙\nKIMI_TOKEN=one\n",
            "API_MASTER_KEY=sk-new\nKIMI_TOKEN: three\n",
            "API_MASTER_KEY=sk-new\nKIMI_TOKEN=three\nPORT=x\n",
        ] {
            let mut scene = Scene::new(&[], OLD);
            scene.see(bad);
            assert!(scene.opens("sk-old") && !scene.opens("sk-new"), "{bad}");
            assert_eq!(scene.accounts(), 2, "{bad}");
            // And the next good one counts.
            scene.see("API_MASTER_KEY=sk-next\nKIMI_TOKEN=one\n");
            assert!(scene.opens("sk-next") && !scene.opens("sk-old"), "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_gone_changes_nothing() {
        let mut scene = Scene::new(&[], OLD);
        for _ in 0..5 {
            scene.look(Err(io::ErrorKind::NotFound.into()));
        }
        assert_eq!((scene.opens("sk-old"), scene.accounts()), (true, 2));
        scene.see(&OLD.replace("sk-old", "sk-new"));
        assert!(scene.opens("sk-new"));
    }

    #[test]
    fn a_loss_has_to_last_and_a_change_does_not() {
        let mut scene = Scene::new(&[], OLD);
        let less = "API_MASTER_KEY=sk-old\nKIMI_TOKEN=one\n";
        for _ in 0..3 {
            scene.look(Ok(less.into()));
            assert_eq!(scene.accounts(), 2);
        }
        scene.look(Ok(less.into()));
        assert_eq!(scene.accounts(), 1);
        let changed = "API_MASTER_KEY=sk-new\nKIMI_TOKEN=one\n";
        scene.look(Ok(changed.into()));
        scene.look(Ok(changed.into()));
        assert!(scene.opens("sk-new"));
    }

    #[test]
    fn the_environment_wins() {
        let mut scene = Scene::new(&[("API_MASTER_KEY", "sk-fixed")], OLD);
        scene.see(&OLD.replace("sk-old", "sk-new"));
        assert!(scene.opens("sk-fixed") && !scene.opens("sk-new"));
    }
}
