//! Progress bars: on stderr, only for people, and only if something takes long enough.

use super::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far something is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Counts events.
    pub(crate) fn events(output: &Output, what: &str) -> Self {
        let template = "{prefix} {wide_bar} {human_pos}/{human_len} events {eta:>4}";
        Self::new(output, what, template)
    }

    /// Counts bytes.
    pub(crate) fn bytes(output: &Output, what: &str, all: u64) -> Self {
        let template = "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta:>4}";
        let this = Self::new(output, what, template);
        this.bar.set_length(all);
        this
    }

    /// Counts thousandths.
    pub(crate) fn share(output: &Output, what: &str) -> Self {
        let this = Self::new(output, what, "{prefix} {wide_bar} {percent:>3} % {eta:>4}");
        this.bar.set_length(1000);
        this
    }

    fn new(output: &Output, what: &str, template: &str) -> Self {
        let wanted = output.err_terminal && !output.quiet && !output.json;
        let target = if wanted {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_prefix(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("##."));
        }
        Self { bar }
    }

    /// Tells how many are done, of how many.
    pub(crate) fn set(&self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Tells how many are done.
    pub(crate) fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Does something else on stderr meanwhile.
    pub(crate) fn pause<T>(&self, action: impl FnOnce() -> T) -> T {
        self.bar.suspend(action)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
