//! Packages of the distribution.

use crate::machine::Machine;
use crate::process;
use crate::root::Root;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Programs that the lab, the tests and the demo start, and the packages that hold them.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("dnsmasq", "dnsmasq-base"),
    ("udhcpc", "udhcpc"),
    ("storescu", "dcmtk"),
    ("storescp", "dcmtk"),
];

/// Other packet filters, which `bench` compares with.
const PEERS: [(&str, &str); 4] = [
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("xdp-filter", "xdp-tools"),
];

/// Installs the packet filters to compare with, as far as apt has them: `bench` says which it does without.
pub(crate) fn peers(machine: &dyn Machine) {
    let missing = lacking(machine, &PEERS);
    if missing.is_empty() {
        return;
    }
    refresh(machine);
    for package in missing {
        if let Err(error) = install(machine, &[package]) {
            eprintln!("bench: goes on without: {error:#}");
        }
    }
}

/// Packages of which this machine lacks the program.
pub(crate) fn missing(machine: &dyn Machine) -> Vec<String> {
    lacking(machine, &PROGRAMS)
}

fn lacking(machine: &dyn Machine, programs: &[(&str, &str)]) -> Vec<String> {
    let mut packages: Vec<_> = programs
        .iter()
        .filter(|(program, _)| machine.program(program).is_none())
        .map(|(_, package)| (*package).to_owned())
        .collect();
    packages.dedup();
    packages
}

/// Whether apt knows a package. Its lists may be older than the package: see [`refresh`].
pub(crate) fn known(machine: &dyn Machine, package: &str) -> bool {
    machine
        .output(Path::new("apt-cache"), &["policy", package])
        .is_some_and(|policy| has_candidate(&policy))
}

fn has_candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate: "))
        .any(|candidate| candidate != "(none)")
}

/// Brings apt's lists up to date, as far as this user may and the mirrors answer: the old lists may do.
pub(crate) fn refresh(machine: &dyn Machine) {
    if let Some(root) = Root::find(machine) {
        let mut update = root.command("apt-get");
        let update = update.args(["-qq", "update"]).stdout(std::io::stderr());
        if process::run(update).is_err() {
            eprintln!("setup: apt-get update failed; going on with the lists that are here");
        }
    }
}

/// Installs packages; [`refresh`] first.
pub(crate) fn install(machine: &dyn Machine, packages: &[String]) -> Result<()> {
    let packages = packages.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {packages}");
    if machine.program("apt-get").is_none() {
        bail!(
            "this machine lacks {packages}, and set-up knows no package manager but apt. Install by hand what \
             `{by_hand}` would, and run `cargo xtask setup` again"
        );
    }
    let Some(root) = Root::find(machine) else {
        bail!(
            "this machine lacks {packages}. Installing takes root, which this user is not and has no sudo for: have \
             `{by_hand}` run as root, then run `cargo xtask setup` again"
        );
    };
    eprintln!("setup: {by_hand}");
    let mut install = root.command("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Dpkg::Use-Pty=0",
            "install",
            "--yes",
        ])
        .arg("--no-install-recommends")
        .args(packages.split(' '))
        .stdout(std::io::stderr());
    process::run(&mut install).with_context(|| {
        format!(
            "could not install {packages}: see apt's messages above, mend them (network, sources, disk), and run \
             `cargo xtask setup` again"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;

    #[test]
    fn only_missing_programs_ask_for_their_package() {
        let bare = FakeMachine::default();
        let all = ["iproute2", "ethtool", "iputils-ping", "dnsmasq-base", "udhcpc", "dcmtk"];
        assert_eq!(missing(&bare), all);
        let with_ip = FakeMachine::default().has("/usr/bin/ip").has("/usr/bin/storescu");
        assert_eq!(missing(&with_ip), all[1..], "half of a package is not enough");
    }

    #[test]
    fn a_package_is_known_when_it_has_a_candidate() {
        let machine = FakeMachine::default()
            .prints(
                "apt-cache policy rustc-web",
                "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0\n",
            )
            .prints(
                "apt-cache policy gone",
                "gone:\n  Installed: (none)\n  Candidate: (none)\n",
            )
            .prints("apt-cache policy never-heard-of", "");
        assert!(known(&machine, "rustc-web"));
        assert!(!known(&machine, "gone"));
        assert!(!known(&machine, "never-heard-of"));
    }

    #[test]
    fn without_root_the_error_says_what_to_run() {
        let user = FakeMachine::default().has("/usr/bin/apt-get");
        let error = install(&user, &["ethtool".into()]).expect_err("no root");
        let text = error.to_string();
        assert!(
            text.contains("`apt-get install --no-install-recommends ethtool`"),
            "{text}"
        );
        let elsewhere = FakeMachine::default().running_as_root();
        let error = install(&elsewhere, &["ethtool".into()]).expect_err("no apt");
        assert!(error.to_string().contains("no package manager but apt"), "{error}");
    }
}
