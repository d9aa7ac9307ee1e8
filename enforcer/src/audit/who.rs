//! Who asks for a change.

use std::fs;

use serde::{Deserialize, Serialize};

/// The login uid of a process that nobody logged in for.
const NOBODY_LOGGED_IN: u32 = u32::MAX;

/// Who asked for a change, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The uid that the process had when it asked.
    pub uid: u32,
    /// Its name, where `/etc/passwd` has one.
    pub user: Option<String>,
    /// Who had logged in, where that is known and somebody else: it outlives `sudo` and `su`.
    pub login: Option<String>,
}

impl Who {
    /// The process at the other end of a socket.
    pub fn peer(uid: u32, pid: Option<i32>) -> Self {
        let login = pid.and_then(login).filter(|login| *login != uid);
        Self::new(uid, login)
    }

    /// This process.
    pub fn this_process() -> Self {
        let pid = rustix::process::getpid().as_raw_pid();
        Self::peer(rustix::process::geteuid().as_raw(), Some(pid))
    }

    fn new(uid: u32, login: Option<u32>) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self {
            uid,
            user: name(&users, uid),
            login: login.map(|login| name(&users, login).unwrap_or_else(|| format!("uid {login}"))),
        }
    }
}

/// `root`, `uid 1007`, `root (alice)`.
impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.user {
            Some(user) => f.write_str(user)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        match &self.login {
            Some(login) => write!(f, " ({login})"),
            None => Ok(()),
        }
    }
}

/// Who logged in for a process to run. Kept by the kernel, which lets nobody change it without a capability.
fn login(pid: i32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != NOBODY_LOGGED_IN)
}

/// The name of a uid in the text of `/etc/passwd`.
fn name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_machine() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(name(users, 1000).as_deref(), Some("alice"));
        assert_eq!((name(users, 7), name("", 0)), (None, None));
    }

    #[test]
    fn whoever_is_told_of_is_told_in_words() {
        let who = |user: Option<&str>, login: Option<&str>| Who {
            uid: 1007,
            user: user.map(str::to_owned),
            login: login.map(str::to_owned),
        };
        assert_eq!(who(Some("root"), Some("alice")).to_string(), "root (alice)");
        assert_eq!(who(None, None).to_string(), "uid 1007");
        assert_eq!(Who::peer(0, None).user.as_deref(), Some("root"));
    }
}
