//! Where event lines go: a thread of its own writes them, behind a queue that never makes anybody wait.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::EventOutput;
use crate::state::EventCounts;

/// Lines that wait for a slow output.
const QUEUE: usize = 8192;
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(2);

enum Message {
    Line(String),
    Reopen,
}

/// The sending end of the queue to the writer.
pub struct Output(Mutex<Option<Writer>>);

/// What the sending end knows of the writer.
struct Writer {
    queue: SyncSender<Message>,
    done: Receiver<()>,
}

impl Output {
    /// Opens the output and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(output: &EventOutput) -> io::Result<Self> {
        let target = match output {
            EventOutput::None => return Ok(Self(Mutex::new(None))),
            EventOutput::Stdout => Target::Stdout,
            EventOutput::File(path) => Target::File(path.clone(), append(path)?),
        };
        Self::to(target)
    }

    fn to(target: Target) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let (finished, done) = channel();
        thread::Builder::new().name("events".into()).spawn(move || {
            write(target, &lines);
            drop(finished);
        })?;
        Ok(Self(Mutex::new(Some(Writer { queue, done }))))
    }

    /// Hands over a line, or counts it as lost when the queue is full.
    pub fn send(&self, line: String, counts: &EventCounts) {
        match self.try_send(Message::Line(line)) {
            None => {}
            Some(true) => EventCounts::add(&counts.written),
            Some(false) => EventCounts::add(&counts.lost),
        }
    }

    /// Opens the file anew, after the log rotation moved it away. Waits for its turn in the queue.
    pub fn reopen(&self) {
        if self.try_send(Message::Reopen) == Some(false) {
            tracing::warn!("the event output is too slow to be opened anew now");
        }
    }

    /// Has the last lines written; gives up on an output that takes none.
    pub fn close(&self) {
        let Some(Writer { queue, done }) = self.writer().take() else {
            return;
        };
        drop(queue);
        if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the event output takes no more lines; the last ones are lost");
        }
    }

    /// Whether the queue took it; `None` without an output.
    fn try_send(&self, message: Message) -> Option<bool> {
        self.writer()
            .as_ref()
            .map(|writer| writer.queue.try_send(message).is_ok())
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Target {
    Stdout,
    File(PathBuf, File),
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes lines until the sending end is gone.
fn write(target: Target, lines: &Receiver<Message>) {
    let (path, mut writer): (_, BufWriter<Box<dyn Write>>) = match target {
        Target::Stdout => (None, BufWriter::new(Box::new(io::stdout()))),
        Target::File(path, file) => (Some(path), BufWriter::new(Box::new(file))),
    };
    let mut failed = false;
    while let Ok(message) = lines.recv() {
        let mut result = handle(message, path.as_deref(), &mut writer);
        // Flushed whenever nothing waits: a reader sees a line at once, a flood is written in large pieces.
        while let Ok(message) = lines.try_recv() {
            result = result.and_then(|()| handle(message, path.as_deref(), &mut writer));
        }
        result = result.and_then(|()| writer.flush());
        if let (Err(error), false) = (&result, failed) {
            tracing::error!("cannot write events: {error}; events are lost until that is mended");
        }
        failed = result.is_err();
    }
}

fn handle(message: Message, path: Option<&Path>, writer: &mut BufWriter<Box<dyn Write>>) -> io::Result<()> {
    match (message, path) {
        (Message::Line(mut line), _) => {
            line.push('\n');
            writer.write_all(line.as_bytes())
        }
        (Message::Reopen, Some(path)) => {
            writer.flush()?;
            *writer = BufWriter::new(Box::new(append(path)?));
            Ok(())
        }
        (Message::Reopen, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn lines_go_to_the_end_of_the_file_also_after_it_was_rotated() {
        let folder = tempfile::TempDir::new().unwrap();
        let (path, moved) = (folder.path().join("events"), folder.path().join("events.1"));
        fs::write(&path, "earlier\n").unwrap();
        let counts = EventCounts::default();
        let output = Output::open(&EventOutput::File(path.clone())).unwrap();
        output.send("one".into(), &counts);
        fs::rename(&path, &moved).unwrap();
        output.reopen();
        output.send("two".into(), &counts);
        output.close();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "earlier\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(counts.written.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_output_that_takes_nothing_loses_lines_and_stalls_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        let stuck = File::from(std::os::fd::OwnedFd::from(writer));
        let output = Output::to(Target::File("pipe".into(), stuck)).unwrap();
        let counts = EventCounts::default();
        let line = "x".repeat(100);
        for _ in 0..3 * QUEUE {
            output.send(line.clone(), &counts);
        }
        let lost = counts.lost.load(Ordering::Relaxed);
        assert!(lost > 0);
        assert_eq!(lost + counts.written.load(Ordering::Relaxed), 3 * QUEUE as u64);
        drop(reader);
        output.close();
    }

    #[test]
    fn no_output_takes_everything() {
        let counts = EventCounts::default();
        Output::open(&EventOutput::None).unwrap().send("x".into(), &counts);
        assert_eq!(counts.written.load(Ordering::Relaxed), 0);
    }
}
