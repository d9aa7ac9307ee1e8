//! The kernel and the rights of this process.

use std::fs;
use std::path::Path;

use rustix::fs::statfs;

use super::Finding;
use crate::kernel::{oldest, privileges};

/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
const BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn examine(pins: &Path) -> Vec<Finding> {
    vec![kernel(), types(), rights(), pin_directory(pins)]
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
