//! A gateway whose operator changes the policy, and looks what passes.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use enforcer::policy;
use enforcer::revisions::{Change, Store};
use enforcer::words::hexadecimal;
use enforcer_tests::lab::enforcer::{binary, configure};
use enforcer_tests::lab::{Enforcer, Process};
use rustix::process::Uid;
use serde_json::{Value, json};

use super::probe::{Probe, pump, show_tags};
use super::{GOOD, Gateway};

/// The state directory, in the gateway's private /run.
pub(crate) const STATE: &str = "/run/enforcer-state";
const SOCKET: &str = "/run/enforcer/control.sock";

/// The policy with another port.
pub(crate) fn other(port: u16) -> String {
    GOOD.replace("tcp/443", &format!("tcp/{port}"))
}

/// SHA-256 of the policy that a text is.
pub(crate) fn hash(text: &str) -> Result<String> {
    let policy = policy::load_texts([(PathBuf::from("policy.yaml"), text.to_owned())]);
    let policy = policy.map_err(|errors| anyhow::anyhow!("{errors}"))?;
    Ok(hexadecimal(&policy.hash))
}

pub(crate) struct Site {
    gateway: Gateway,
    probe: Probe,
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        let gateway = Gateway::new()?;
        configure(&gateway.namespace, &Probe::config(&gateway))?;
        let probe = Probe::new(&gateway)?;
        Ok(Self { gateway, probe })
    }

    pub(crate) fn start(&self) -> Result<Enforcer<'_>> {
        let mut enforcer = self.start_unready()?;
        enforcer.wait_until_ready()?;
        Ok(enforcer)
    }

    pub(crate) fn start_unready(&self) -> Result<Enforcer<'_>> {
        Enforcer::spawn(&self.gateway.namespace)
    }

    /// As after a reboot: nothing pinned, and a boot of another name.
    pub(crate) fn reboot(&self, enforcer: Enforcer<'_>) -> Result<()> {
        enforcer.kill()?;
        self.run(&["detach"])?;
        show_tags(&self.gateway)?;
        let next = "/run/next-boot";
        self.enter(|| Ok(fs::write(next, "00000000-0000-4000-8000-000000000001\n")?))?;
        let place = "/proc/sys/kernel/random/boot_id";
        self.gateway.tool("mount", &["--bind", next, place]).map(drop)
    }

    /// Writes the policy file.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.gateway.write_policy(text)
    }

    fn arguments<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--config", Enforcer::CONFIG]].concat()
    }

    /// Runs a command to its end: its exit code, standard output and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        self.gateway.run(&Self::arguments(arguments))
    }

    /// Starts a command, and does not wait.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = self.gateway.namespace.command(binary()?);
        command.args(Self::arguments(arguments));
        Process::start(command)
    }

    /// Runs a command on a terminal, and answers its question: its exit code, and what stands on the terminal.
    pub(crate) fn on_a_terminal(&self, verb: &str, answer: &str) -> Result<(i32, String)> {
        let command = format!("{} {verb} --config {}", binary()?.display(), Enforcer::CONFIG);
        let mut script = self.gateway.namespace.command("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("no standard input")?;
        writeln!(input, "{answer}")?;
        let output = child.wait_with_output()?;
        drop(input);
        let code = output.status.code().context("ended by a signal")?;
        Ok((code, String::from_utf8(output.stdout)?))
    }

    /// Sends a request to the control socket, and returns the whole answer.
    pub(crate) fn ask(&self, request: &Value) -> Result<Value> {
        self.ask_as(0, request)
    }

    /// The same by another user, who has the socket's group.
    pub(crate) fn ask_as(&self, uid: u32, request: &Value) -> Result<Value> {
        let line = json!({"version": 1, "request": request});
        self.enter(|| {
            // Of this thread only, which ends with that.
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
            let mut stream = UnixStream::connect(SOCKET)?;
            writeln!(stream, "{line}")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            Ok(serde_json::from_str(&answer)?)
        })
    }

    pub(crate) fn status(&self) -> Result<Value> {
        let (_, json, text) = self.run(&["status", "--output", "json"])?;
        serde_json::from_str(&json).context(text)
    }

    pub(crate) fn seconds_left(&self) -> Result<u64> {
        let status = self.status()?;
        status["pending"]["seconds_left"].as_u64().context("nothing waits")
    }

    /// All of the history, as people see it.
    pub(crate) fn history(&self) -> Result<String> {
        let (code, text, error) = self.run(&["history", "--limit", "1000"])?;
        ensure!(code == 0, "{error}");
        Ok(text)
    }

    pub(crate) fn assert_trail_is_whole(&self) -> Result<()> {
        let (code, text, error) = self.run(&["history", "--verify"])?;
        ensure!(code == 0 && text.contains("fit together"), "{text}{error}");
        Ok(())
    }

    /// Of the ports that tests name, this one is permitted, and no other.
    pub(crate) fn assert_permits(&self, port: u16) -> Result<()> {
        for asked in 443..460 {
            ensure!(
                self.probe.passes(&pump(asked))? == (asked == port),
                "port {asked}, while {port} should be permitted"
            );
        }
        Ok(())
    }

    /// The time of a change is over, as if it had passed.
    pub(crate) fn let_pending_expire(&self) -> Result<()> {
        self.enter(|| {
            let store = Store::new(STATE.as_ref());
            let mut pointer = store.pointer();
            pointer.pending.as_mut().context("nothing waits")?.due = 1;
            Ok(store.point(&pointer)?)
        })
    }

    pub(crate) fn damage(&self, revision: u32) -> Result<()> {
        let path = Self::path(revision);
        self.enter(|| Ok(fs::write(path, "cut off")?))
    }

    /// Puts a revision with this text into the store.
    pub(crate) fn keep(&self, text: &str, revision: u32) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let store = Store::new(scratch.path());
        store.prepare()?;
        let change = Change {
            files: vec![("policy.yaml".into(), text.to_owned())],
            ..Change::default()
        };
        let number = store.add(&change, &store.pointer())?;
        ensure!(number == revision, "it has number {number}");
        let made = fs::read(scratch.path().join(format!("revisions/{number:08}.revision")))?;
        self.enter(|| Ok(fs::write(Self::path(revision), made)?))
    }

    fn path(revision: u32) -> String {
        format!("{STATE}/revisions/{revision:08}.revision")
    }

    /// Starts with a state directory that is a disk of its own, with little room.
    pub(crate) fn start_on_small_disk(&self) -> Result<Enforcer<'_>> {
        self.enter(|| Ok(fs::create_dir(STATE)?))?;
        let small = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", STATE];
        self.gateway.tool("mount", &small)?;
        self.start()
    }

    /// Fills it to the last block.
    pub(crate) fn fill_disk(&self) -> Result<()> {
        self.enter(|| {
            let mut file = fs::File::create(format!("{STATE}/full"))?;
            while file.write_all(&[0; 4096]).is_ok() {}
            Ok(())
        })
    }

    pub(crate) fn free_disk(&self) -> Result<()> {
        self.enter(|| Ok(fs::remove_file(format!("{STATE}/full"))?))
    }

    /// On the gateway.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.gateway.namespace.enter(work)
    }
}
