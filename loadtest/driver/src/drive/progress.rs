//! The progress bar, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    options::Options,
    tally::{Group, Second},
};

pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Where stderr is no terminal, nothing is drawn.
    pub(super) fn new(options: &Options) -> Self {
        let bar = if options.quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(options.duration.into())
        };
        let style = ProgressStyle::with_template("{bar:30.cyan/blue} {pos:>3}/{len} s  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("warming up");
        Self(bar)
    }

    /// Held streams are being opened.
    pub(super) fn opening(&self, open: u64) {
        if open > 0 {
            self.0.set_message(format!("{open} streams held"));
        }
    }

    /// A second has passed.
    pub(super) fn tick(&mut self, load: &Group, held: &Group, second: Option<&(Second, Second)>) {
        self.0.inc(1);
        if let Some((now, beside)) = second {
            let errors = load.errors() + held.errors();
            let pieces = now.pieces + beside.pieces;
            self.0.set_message(format!(
                "{} requests/s  {pieces} pieces/s  p99 {:.1} ms  {errors} errors",
                now.requests,
                now.total_p99.max(now.piece_p99) / 1000.0
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
