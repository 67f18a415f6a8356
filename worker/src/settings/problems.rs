//! What is wrong with the variables, gathered while they are read: all mistakes are told at once.

/// Sentences for the operator, which name variables and never their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What the worker does not start with.
    pub errors: Vec<String>,
    /// What it starts with, though hardly as it was meant.
    pub warnings: Vec<String>,
}

impl Problems {
    /// Adds an error.
    pub fn push(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// What was read with these problems.
    ///
    /// # Errors
    /// The errors, if there are any; the warnings are of no interest then.
    pub fn over<T>(self, read: T) -> Result<(T, Vec<String>), Vec<String>> {
        if self.errors.is_empty() {
            Ok((read, self.warnings))
        } else {
            Err(self.errors)
        }
    }
}

/// Says warnings in the log.
pub fn log(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
