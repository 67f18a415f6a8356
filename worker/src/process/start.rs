//! What a worker starts with: variables become settings and providers, or a list of all that is wrong with them.

use std::path::PathBuf;

use crate::{
    providers::Registry,
    settings::{Settings, Vars},
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
}

impl Start {
    /// Reads environment and file.
    ///
    /// # Errors
    /// All mistakes, those of the providers among them; but for a file that cannot be read, which is the only one.
    pub fn read() -> Result<Self, Vec<String>> {
        let (vars, path) = Vars::load().map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let mut settings = Settings::read(&vars, &mut problems);
        let mut beside = path.clone().into_os_string();
        beside.push(".tokens");
        settings.kept = settings.kept.or_in_file(beside.into());
        if problems.is_empty() {
            return Ok(Self {
                vars,
                path,
                settings,
            });
        }
        // All mistakes together.
        Registry::new(&vars, &settings, &mut problems);
        Err(problems)
    }

    /// The providers, which warn in the log of accounts that they leave out.
    ///
    /// # Errors
    /// All mistakes.
    pub fn registry(&self) -> Result<Registry, Vec<String>> {
        let mut problems = Vec::new();
        let registry = Registry::new(&self.vars, &self.settings, &mut problems);
        if problems.is_empty() {
            Ok(registry)
        } else {
            Err(problems)
        }
    }
}
