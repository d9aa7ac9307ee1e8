//! Where things are: the repository, the build folder, the tools that belong to the project.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The Rust target of the kernel program.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// The folders that commands work in.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's build folder: `CARGO_TARGET_DIR`, or `target`.
    pub(crate) target: PathBuf,
    /// Tools that are built once. Not in the build folder, so that `cargo clean` leaves them alone.
    pub(crate) tools: PathBuf,
}

impl Workspace {
    /// Finds the folders of the repository that this program was built in.
    pub(crate) fn find() -> Self {
        // Cargo sets the variable for `cargo run`; the constant serves a binary that was started by hand.
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf);
        Self::new(root, env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
    }

    fn new(root: PathBuf, target: Option<PathBuf>) -> Self {
        let target = target.map_or_else(|| root.join("target"), |folder| root.join(folder));
        let tools = main_worktree(&root).join(".tools");
        Self { root, target, tools }
    }

    /// The build folder of the kernel program. It has its own, because its compiler flags differ, and cargo
    /// rebuilds everything in a folder whose flags change.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The BPF object of this name.
    pub(crate) fn object(&self, name: &str) -> PathBuf {
        self.bpf_target().join(BPF_TARGET).join("release").join(name)
    }
}

/// The main worktree of the repository at `root`, so that linked worktrees share its tools. In one of those, `.git`
/// is a file that says `gitdir: MAIN/.git/worktrees/NAME`.
fn main_worktree(root: &Path) -> PathBuf {
    fs::read_to_string(root.join(".git"))
        .ok()
        .and_then(|link| linked_to(&link))
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| root.to_path_buf())
}

fn linked_to(link: &str) -> Option<PathBuf> {
    let folder = Path::new(link.trim().strip_prefix("gitdir: ")?);
    let mut ancestors = folder.ancestors().skip(1);
    let worktrees = ancestors.next()?;
    let git = ancestors.next()?;
    (worktrees.ends_with("worktrees") && git.ends_with(".git")).then(|| git.parent().map(Path::to_path_buf))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_folder_follows_the_environment() {
        let here = Workspace::new("/repo".into(), None);
        assert_eq!(
            here.object("enforcer-xdp"),
            Path::new("/repo/target/bpf/bpfel-unknown-none/release/enforcer-xdp")
        );
        assert_eq!(here.tools, Path::new("/repo/.tools"));
        let absolute = Workspace::new("/repo".into(), Some("/elsewhere".into()));
        assert_eq!(absolute.bpf_target(), Path::new("/elsewhere/bpf"));
        let relative = Workspace::new("/repo".into(), Some("out".into()));
        assert_eq!(relative.bpf_target(), Path::new("/repo/out/bpf"));
    }

    #[test]
    fn a_linked_worktree_names_the_main_one() {
        let link = "gitdir: /src/enforcer/.git/worktrees/fix\n";
        assert_eq!(linked_to(link), Some("/src/enforcer".into()));
        assert_eq!(linked_to("gitdir: ../.git/modules/enforcer"), None);
        assert_eq!(linked_to("garbage"), None);
    }
}
