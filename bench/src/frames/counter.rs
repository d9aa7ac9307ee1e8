//! Kernel instructions by the processor's own counter, which repeats far better than any clock.

use std::io;

use anyhow::{Context as _, Result};
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Counts the instructions that this thread spends in the kernel.
pub(crate) struct Instructions(Counter);

impl Instructions {
    /// Opens the counter; the error says why there is none.
    pub(crate) fn open() -> Result<Self, String> {
        Builder::new(Hardware::INSTRUCTIONS)
            .exclude_kernel(false)
            .exclude_user(true)
            .build()
            .map(Self)
            .map_err(|error| explain(&error))
    }

    /// The instructions that `work` costs in the kernel.
    pub(crate) fn count<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
        self.0.reset().context("cannot reset the instruction counter")?;
        self.0.enable().context("cannot start the instruction counter")?;
        let outcome = work();
        self.0.disable().context("cannot stop the instruction counter")?;
        let count = self.0.read().context("cannot read the instruction counter")?;
        Ok((outcome?, count))
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
            "the processor shows no hardware counters (a virtual machine without a PMU?)".into()
        }
        io::ErrorKind::PermissionDenied => "not permitted: it takes root, or CAP_PERFMON".into(),
        _ => format!("perf_event_open: {error}"),
    }
}
