//! A child process whose output is read as it comes.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::sys::send_signal;

/// A signal for a child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Read the policy again.
    Hangup,
    /// Ctrl-C.
    Interrupt,
    /// End cleanly.
    Terminate,
    /// Die at once, without a chance to do anything.
    Kill,
}

/// A running child process. It is killed on drop, and dies with the thread that started it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Output,
    errors: Output,
}

impl Process {
    /// Starts a command with its output captured, outside of the terminal's process group, so that Ctrl-C reaches only
    /// the process that started it.
    pub fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let output = Output::read(child.stdout.take().context("no standard output")?);
        let errors = Output::read(child.stderr.take().context("no standard error")?);
        Ok(Self { child, output, errors })
    }

    /// Lines of standard output.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Lines of standard error.
    pub fn errors(&self) -> &Output {
        &self.errors
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let number = match signal {
            Signal::Hangup => libc::SIGHUP,
            Signal::Interrupt => libc::SIGINT,
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
        };
        send_signal(self.child.id(), number).context("cannot send a signal")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, and for its output to be read.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.output.finish();
                self.errors.finish();
                return Ok(status);
            }
            if Instant::now() > end {
                bail!(
                    "it still runs after {limit:?}; its last messages:\n{}",
                    self.errors.text()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output.finish();
        self.errors.finish();
    }
}

/// Lines that a process has written so far.
#[derive(Debug)]
pub struct Output {
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn read(source: impl Read + Send + 'static) -> Self {
        let lines = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = lines.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                lock(&shared.0).push(line);
                shared.1.notify_all();
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    /// Reads to the end, which comes when the process ends.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines.0).clone()
    }

    /// All lines so far, as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The first line, from number `from` on, that `wanted` makes something of.
    pub fn wait_for<T>(&self, from: usize, limit: Duration, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut next = from;
        let mut lines = lock(&self.lines.0);
        loop {
            while let Some(line) = lines.get(next) {
                if let Some(found) = wanted(line) {
                    return Some(found);
                }
                next += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let woken = self.lines.1.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command).expect("sh starts")
    }

    #[test]
    fn output_is_seen_as_it_comes_and_to_its_end() {
        let mut process = shell("echo one; echo two; echo no >&2; sleep 0.05; echo three; exit 3");
        let two = process
            .output()
            .wait_for(1, SECOND, |line| (line == "two").then_some(2));
        assert_eq!(two, Some(2));
        let status = process.wait(SECOND).expect("it ends");
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.output().lines(), ["one", "two", "three"]);
        assert_eq!(process.errors().text(), "no");
    }

    #[test]
    fn signals_reach_it_and_waiting_is_bounded() {
        let mut process = shell("trap 'echo again' HUP; echo ready; while true; do sleep 0.01; done");
        assert!(
            process
                .output()
                .wait_for(0, SECOND, |line| (line == "ready").then_some(()))
                .is_some()
        );
        process.signal(Signal::Hangup).expect("it can be signalled");
        assert!(
            process
                .output()
                .wait_for(0, SECOND, |line| (line == "again").then_some(()))
                .is_some()
        );
        assert!(process.wait(Duration::from_millis(10)).is_err());
        assert!(process.is_running());
        process.signal(Signal::Kill).expect("it can be signalled");
        assert_eq!(process.wait(SECOND).expect("it ends").code(), None);
    }
}
