//! Finds the kernel program and embeds it.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where `cargo xtask build` puts the object, below the target directory.
const OBJECT: &str = "bpf/bpfel-unknown-none/release/enforcer-xdp";

fn main() {
    println!("cargo::rerun-if-env-changed=ENFORCER_XDP_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let candidates = candidates(&out);
    let Some(object) = candidates.iter().find(|path| path.is_file()) else {
        for path in &candidates {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        println!("cargo::error=the kernel program is not built; run: cargo xtask build");
        return;
    };
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = fs::copy(object, out.join("enforcer-xdp")) {
        println!("cargo::error=cannot copy {}: {error}", object.display());
    }
}

/// The places to look in, best first: what the environment names, else the target directory in use, else the
/// one of this workspace.
fn candidates(out: &Path) -> Vec<PathBuf> {
    if let Some(named) = env::var_os("ENFORCER_XDP_OBJECT") {
        return vec![named.into()];
    }
    // OUT_DIR is <target>[/<triple>]/<profile>/build/enforcer-<hash>/out.
    let mut found: Vec<_> = out
        .ancestors()
        .skip(4)
        .take(2)
        .map(|directory| directory.join(OBJECT))
        .collect();
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    found.push(Path::new(&manifest).join("../target").join(OBJECT));
    found
}
