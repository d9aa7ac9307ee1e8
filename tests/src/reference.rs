//! What `verify` and `bench` load: the reference policies, and the reference programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use enforcer::diagnostics::Diagnostics;
use enforcer::policy::{self, TableSet};

/// The policies of the reference hospital, compiled.
pub fn tables() -> Result<TableSet> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let readable = |errors: Diagnostics| anyhow!("the reference policies are broken:\n{}", errors.render(false));
    let policy = policy::load(&[folder]).map_err(readable)?;
    policy::compile(&policy).map_err(readable)
}

/// The object with the reference programs, `reference-xdp`: in `bpf/` of the build folder that this program lies in.
pub fn object() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    program
        .ancestors()
        .map(|folder| folder.join("bpf/bpfel-unknown-none/release/reference-xdp"))
        .find(|object| object.is_file())
        .context("the reference programs are not built: run `cargo xtask build`")
}
