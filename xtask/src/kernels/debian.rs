//! Debian's kernel packages, by apt under folders of its own: the machine's own sources and lists stay as they are.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's releases, oldest first, with the backports that carry newer kernels.
const SUITES: [&str; 7] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "testing",
    "unstable",
];

/// Debian's keys: part of Debian, a package on Ubuntu.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's own site.
const SITE: &str = "http://deb.debian.org/debian";

/// The flavour of the kernels: small, for virtual machines.
const FLAVOUR: &str = "cloud-amd64";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As `uname -r` will say.
    pub(crate) release: String,
    /// The image to boot.
    pub(crate) image: PathBuf,
    /// The folder that `lib/modules` lies in.
    pub(crate) root: PathBuf,
}

/// Kernels that were fetched, in a folder that outlives the run.
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the store; fetches the package lists unless it has them.
    pub(crate) fn open(folder: &Path, refresh: bool) -> Result<Self> {
        let store = Self {
            folder: folder.to_owned(),
        };
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(folder.join("status"), "")?;
        let done = folder.join("lists/done");
        if refresh || !done.exists() {
            fs::write(folder.join("sources.list"), sources())?;
            eprintln!("kernels: fetching Debian's package lists");
            // A release that moved to the archives is missed below, by name.
            let _ = process::run(store.apt("apt-get").args(["-qq", "update"]).stdout(std::io::stderr()));
            fs::write(done, "")?;
        }
        Ok(store)
    }

    /// The newest kernel of a series (`6.1`), fetched and unpacked.
    pub(crate) fn kernel(&self, series: &str) -> Result<Kernel> {
        let names = self.apt("apt-cache").args(["pkgnames", "linux-image-"]).output()?;
        let names = String::from_utf8_lossy(&names.stdout);
        let release = newest(&names, series).with_context(|| {
            format!("Debian's lists have no kernel {series} any more. Fetch them anew with --refresh")
        })?;
        let folder = self.folder.join(&release);
        if !folder.join("done").exists() {
            self.fetch(&release, &folder)?;
            fs::write(folder.join("done"), "")?;
        }
        let image = [
            folder.join(format!("boot/vmlinuz-{release}")),
            folder.join(format!("usr/lib/modules/{release}/vmlinuz")),
        ];
        let image = image.into_iter().find(|image| image.exists());
        let root = [folder.clone(), folder.join("usr")];
        let root = root
            .into_iter()
            .find(|root| root.join("lib/modules").join(&release).exists());
        Ok(Kernel {
            image: image.with_context(|| format!("the packages of {release} hold no kernel image"))?,
            root: root.with_context(|| format!("the packages of {release} hold no modules"))?,
            release,
        })
    }

    fn fetch(&self, release: &str, folder: &Path) -> Result<()> {
        let image = format!("linux-image-{release}");
        let shown = self.apt("apt-cache").args(["depends", &image]).output()?;
        let mut packages = vec![image];
        // Newer kernels come in several packages.
        for part in ["binary", "modules"] {
            let name = format!("linux-{part}-{release}");
            if String::from_utf8_lossy(&shown.stdout).contains(&name) {
                packages.push(name);
            }
        }
        self.unpack(&packages, folder)?;
        let root = if folder.join("lib/modules").exists() {
            folder.to_owned()
        } else {
            folder.join("usr")
        };
        // Its warnings are about files that only packages' scripts make.
        let output = Command::new("/sbin/depmod")
            .arg("-b")
            .arg(link_root(&root)?)
            .arg(release)
            .output()?;
        ensure!(
            output.status.success(),
            "depmod: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Packages of the newest release that has them, fetched and unpacked into a folder below the store's; nothing is
    /// installed.
    pub(crate) fn packages(&self, names: &[&str], folder: &str) -> Result<PathBuf> {
        let folder = self.folder.join(folder);
        if !folder.join("done").exists() {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            self.unpack(&names, &folder)?;
            fs::write(folder.join("done"), "")?;
        }
        Ok(folder)
    }

    fn unpack(&self, packages: &[String], folder: &Path) -> Result<()> {
        eprintln!("kernels: fetching {}", packages.join(", "));
        let downloads = self
            .folder
            .join("packages")
            .join(folder.file_name().unwrap_or_default());
        fs::create_dir_all(&downloads)?;
        let mut download = self.apt("apt-get");
        download
            .current_dir(&downloads)
            .args(["-qq", "download"])
            .args(packages);
        process::run(download.stdout(std::io::stderr()))?;
        fs::create_dir_all(folder)?;
        for package in fs::read_dir(&downloads)? {
            process::run(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(folder))?;
        }
        fs::remove_dir_all(&downloads)?;
        Ok(())
    }

    /// apt with its folders here.
    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let at = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            format!("Dir::State={}", self.folder.display()),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
        ] {
            apt.args(["-o", &option]);
        }
        apt
    }
}

/// The sources: the mirror that this machine's apt uses for Debian.
fn sources() -> String {
    let format = [
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Label: Debian",
    ];
    let sites = process::output("apt-get".as_ref(), &format).unwrap_or_default();
    // The mirror that this machine uses, for it is in reach; a machine of another distribution has none.
    let site = sites.lines().find(|site| !site.is_empty()).unwrap_or(SITE);
    SUITES
        .map(|suite| format!("deb [signed-by={KEYS}] {site} {suite} main\n"))
        .concat()
}

/// The newest release of a series among names of packages.
fn newest(names: &str, series: &str) -> Option<String> {
    let prefix = format!("{series}.");
    names
        .lines()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|release| release.ends_with(FLAVOUR) && release.starts_with(&prefix))
        .max_by_key(|release| numbers(release))
        .map(str::to_owned)
}

/// `6.12.95+deb12-cloud-amd64`: 6, 12, 95, 12.
fn numbers(release: &str) -> Vec<u64> {
    release
        .trim_end_matches(FLAVOUR)
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// `depmod` and `modprobe` look below `lib/modules` of a root.
fn link_root(root: &Path) -> Result<&Path> {
    ensure!(root.join("lib/modules").exists(), "no modules in {}", root.display());
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_by_number_and_without_other_flavours() {
        let names = "linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.1.0-50-cloud-amd64\n\
                     linux-image-6.1.0-51-cloud-amd64-dbg\nlinux-image-6.12.9+deb13-cloud-amd64\n\
                     linux-image-7.2.13+deb14-cloud-amd64\nlinux-image-7.3.4+deb13-cloud-amd64\nlinux-image-6.1.0-99-amd64\n";
        assert_eq!(newest(names, "6.1").as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(newest(names, "7").as_deref(), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(newest(names, "5.10"), None);
    }
}
