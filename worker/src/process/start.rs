//! What a worker starts with: variables become settings and providers, or a list of all that is wrong with them.

use std::path::PathBuf;

use crate::{
    providers::Registry,
    settings::{Problems, Settings, Vars},
    store::Place,
};

/// What was read.
#[derive(Debug)]
pub struct Start {
    /// Of the environment and of the file together.
    pub vars: Vars,
    /// The file.
    pub path: PathBuf,
    /// What the variables mean.
    pub settings: Settings,
    /// The providers, with the accounts that can be used.
    pub registry: Registry,
    /// Where the store is.
    pub store: Place,
    /// What is hardly as it was meant. Logging starts after this was read, so nobody has been told yet.
    pub warnings: Vec<String>,
}

impl Start {
    /// Reads environment and file.
    ///
    /// # Errors
    /// All mistakes, those of the providers among them; but for a file that cannot be read, which is the only one.
    pub fn read() -> Result<Self, Vec<String>> {
        let (vars, path) = Vars::load().map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let mut settings = Settings::read(&vars, &mut problems);
        let mut beside = path.clone().into_os_string();
        beside.push(".tokens");
        // Beside the file, since that is the folder that is mounted and kept.
        settings.providers.kept = settings.providers.kept.or_in_file(beside.into());
        let registry = Registry::new(&vars, &settings, &mut problems);
        let (registry, warnings) = problems.over(registry)?;
        Ok(Self {
            store: settings.store.place(&path),
            vars,
            path,
            settings,
            registry,
            warnings,
        })
    }
}
