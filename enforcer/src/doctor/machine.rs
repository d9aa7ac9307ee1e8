//! The kernel and the rights of this process.

use std::fs;
use std::path::Path;

use enforcer_common::abi::ABI_VERSION;
use rustix::fs::statfs;

use super::Finding;
use crate::kernel::ticks::TickClock;
use crate::kernel::{oldest, privileges};
use crate::object::OBJECT;

/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
const BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn examine(pins: &Path) -> Vec<Finding> {
    let mut findings = vec![kernel(), types(), rights(), clock(), pin_directory(pins)];
    findings.extend(other_versions(pins));
    findings
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match oldest::missing(&release) {
        None => Finding::ok("kernel", format!("Linux {release}")),
        Some(lacks) => Finding::warning(
            "kernel",
            format!("Linux {release}: unless it was backported, {lacks}"),
            "boot Linux 5.18 or newer",
        ),
    }
}

fn types() -> Finding {
    if Path::new(BTF).exists() {
        return Finding::ok("kernel types", format!("{BTF} is there"));
    }
    Finding::warning(
        "kernel types",
        format!("no {BTF}: what an inline pair loses on its way out may not be counted"),
        "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
    )
}

fn rights() -> Finding {
    match privileges::check() {
        Ok(()) => Finding::ok("capabilities", "those that the enforcer needs are there"),
        Err(error) => Finding::warning(
            "capabilities",
            error.to_string(),
            "run it as root: sudo enforcer doctor",
        ),
    }
}

/// The length of a tick, which a program tells that the kernel has to take for it.
fn clock() -> Finding {
    if privileges::check().is_err() {
        let cure = "run it as root: sudo enforcer doctor";
        return Finding::warning(
            "clock",
            "the kernel's tick was not measured: that needs capabilities",
            cure,
        );
    }
    match TickClock::measure(OBJECT) {
        Ok(clock) => {
            let rate = 1_000_000_000 / clock.tick_nanos;
            Finding::ok("clock", format!("{rate} ticks a second; the kernel takes programs"))
        }
        Err(error) => Finding::error(
            "clock",
            error.to_string(),
            "sysctl kernel.unprivileged_bpf_disabled; dmesg | tail    # what keeps the kernel from taking a program",
        ),
    }
}

/// What enforcers left that had another version of the pinned maps.
fn other_versions(pins: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(pins).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let number = |name: &str| name.strip_prefix('v').and_then(|rest| rest.parse::<u32>().ok());
    let mut others: Vec<_> = names
        .filter(|name| number(name).is_some_and(|number| number != ABI_VERSION))
        .collect();
    others.sort();
    let finding = |name: String| {
        let path = pins.join(name);
        Finding::warning(
            format!("pins {}", path.display()),
            format!(
                "left by an enforcer of another version; this one has v{ABI_VERSION}. Ports in its `links` may still enforce its policy"
            ),
            format!("rm -r {}    # takes that enforcer off its ports", path.display()),
        )
    };
    others.into_iter().map(finding).collect()
}

/// The nearest folder that exists around the pins has to be on a bpffs.
fn pin_directory(pins: &Path) -> Finding {
    let subject = format!("pins {}", pins.display());
    let exists = |path: &&Path| fs::metadata(path).is_ok();
    let Some(nearest) = pins.ancestors().find(exists) else {
        return Finding::warning(
            subject,
            "not visible to this user",
            "run it as root: sudo enforcer doctor",
        );
    };
    match statfs(nearest) {
        Ok(stat) if i64::from(BPF_FS_MAGIC) == stat.f_type => Finding::ok(subject, "on a bpffs"),
        Ok(_) => Finding::error(
            subject,
            format!("{} is not on a bpffs", nearest.display()),
            "mount -t bpf bpf /sys/fs/bpf",
        ),
        Err(error) => Finding::warning(
            subject,
            format!("cannot be looked at: {error}"),
            "run it as root: sudo enforcer doctor",
        ),
    }
}
