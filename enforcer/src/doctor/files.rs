//! Folders, the policy, and the daemon.

use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::config::Config;
use crate::control::{self, CallError, Verb};
use crate::policy;
use crate::words::counted;

/// Octets that have to be free for the state: a rotation of what is kept there has to fit.
const FREE: u64 = 64 << 20;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    vec![
        policy(config),
        folder("state", &config.state_directory),
        folder("runtime", &config.runtime_directory),
        daemon(config),
    ]
}

fn policy(config: &Config) -> Finding {
    let paths: Vec<_> = config.policy.iter().map(|path| path.display().to_string()).collect();
    let paths = paths.join(" ");
    match policy::check(&config.policy, Some(config), SystemTime::now()) {
        Ok(summary) => Finding::ok(
            "policy",
            format!("{paths}: {}, good", counted(summary.policy.rules.len(), "rule")),
        ),
        Err(errors) => Finding::error(
            "policy",
            format!("{paths}: errors: {}", errors.list.len()),
            format!("enforcer check {paths}"),
        ),
    }
}

/// A folder of the controller, or the one that it would be made in.
fn folder(what: &str, path: &Path) -> Finding {
    let subject = format!("{what} directory {}", path.display());
    let Some(nearest) = path.ancestors().find(|path| path.exists()) else {
        return Finding::warning(
            subject,
            "not visible to this user",
            "run it as root: sudo enforcer doctor",
        );
    };
    if access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let (at, cure) = (nearest.display(), "run it as root: sudo enforcer doctor");
        return Finding::warning(subject, format!("this user may not write to {at}"), cure);
    }
    match statvfs(nearest) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) < FREE => Finding::error(
            subject,
            format!("{} MiB are free", stat.f_bavail.saturating_mul(stat.f_frsize) >> 20),
            format!("df -h {}", nearest.display()),
        ),
        Ok(_) if nearest == path => Finding::ok(subject, "writable, with room"),
        Ok(_) => Finding::ok(subject, "not there yet; `enforcer run` makes it"),
        Err(error) => Finding::warning(
            subject,
            format!("cannot be looked at: {error}"),
            format!("df -h {}", nearest.display()),
        ),
    }
}

fn daemon(config: &Config) -> Finding {
    match control::call(&config.runtime_directory, Verb::Status) {
        Ok(status) if status["ready"] == true => Finding::ok("daemon", "answers, and is ready"),
        Ok(_) => Finding::error("daemon", "answers, and is not ready", "enforcer status"),
        Err(error @ CallError::Absent(_)) => Finding::warning("daemon", error.to_string(), "systemctl start enforcer"),
        Err(error) => Finding::warning("daemon", error.to_string(), "journalctl -u enforcer -n 50"),
    }
}
