//! `docs/first-segment.md` as a newcomer follows it: its files are written, its commands run on a gateway, and what they print is held
//! against the page. Needs root.
//!
//! `…` on the page stands for any text; alone on a line, for any lines. A command behind `#` is repeated until it prints what it should,
//! because what it tells of takes its time.

mod gateway;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use enforcer_tests::lab::enforcer::binary;
use enforcer_tests::lab::{Namespace, PacketSocket, Process};
use enforcer_tests::packet::{packet, tcp_flags};
use gateway::eventually;

const PAGE: &str = include_str!("../../docs/first-segment.md");
/// In place of `/etc/enforcer`, in the gateway's private /run.
const FOLDER: &str = "/run/first";
const PUMP: &str = "10.10.110.21";
const PUMP_MAC: [u8; 6] = [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01];
const SERVER: &str = "10.20.5.10";

/// A part of the page.
enum Part<'p> {
    File {
        path: &'p str,
        text: &'p str,
    },
    Command {
        words: &'p str,
        printed: Vec<&'p str>,
        /// It tells of the gateway, where all takes its time.
        waits: bool,
    },
    /// Something that happens on the network.
    Event(&'p str),
}

fn parts(page: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for (number, piece) in page.split("```").enumerate() {
        if number % 2 == 0 {
            let events = piece.split("<!-- test: ").skip(1);
            parts.extend(events.filter_map(|event| event.split(" -->").next().map(Part::Event)));
            continue;
        }
        let (kind, text) = piece.split_once('\n').expect("a block has lines");
        if let Some((_, path)) = kind.split_once(' ') {
            parts.push(Part::File { path, text });
            continue;
        }
        assert_eq!(kind, "console", "a block of another kind");
        for line in text.lines() {
            if let Some(words) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
                parts.push(Part::Command {
                    words,
                    printed: Vec::new(),
                    waits: line.starts_with('#'),
                });
            } else if let Some(Part::Command { printed, .. }) = parts.last_mut() {
                printed.push(line);
            }
        }
    }
    parts
}

/// Whether a line is as the page has it.
fn is_like(line: &str, wanted: &str) -> bool {
    let pieces: Vec<&str> = wanted.split('…').collect();
    let [first, middle @ .., last] = pieces.as_slice() else {
        return line == wanted;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// Whether lines are as the page has them.
fn are_like(lines: &[&str], wanted: &[&str]) -> bool {
    match wanted {
        [] => lines.is_empty(),
        ["…", more @ ..] => (0..=lines.len()).any(|at| are_like(&lines[at..], more)),
        [first, more @ ..] => lines
            .split_first()
            .is_some_and(|(line, rest)| is_like(line, first) && are_like(rest, more)),
    }
}

struct Ward {
    gateway: Namespace,
    switch: PacketSocket,
    enforcer: Option<Process>,
    knocks: AtomicBool,
}

impl Ward {
    fn new() -> Result<Self> {
        let gateway = Namespace::gateway("gateway")?;
        gateway.ip("link add eth1 type veth peer name switch\nlink set eth1 up\nlink set switch up")?;
        gateway.enter(|| fs::create_dir_all(Path::new(FOLDER).join("policy")))?;
        let switch = gateway.enter(|| PacketSocket::open("switch"))?;
        Ok(Self {
            gateway,
            switch,
            enforcer: None,
            knocks: AtomicBool::new(false),
        })
    }

    fn follow(&mut self, part: &Part<'_>) -> Result<()> {
        match part {
            Part::File { path, text } => {
                let mut text = (*text).to_owned();
                if *path == "enforcer.toml" {
                    text = format!("state_directory = '/run/first-state'\n{text}");
                }
                Ok(self.gateway.enter(|| fs::write(Path::new(FOLDER).join(path), text))?)
            }
            Part::Event(event) if event.starts_with("the ward works") => self.work(),
            Part::Event(_) => {
                self.knocks.store(true, Ordering::Relaxed);
                Ok(())
            }
            Part::Command { words, .. } if *words == "systemctl start enforcer" => {
                let config = format!("{FOLDER}/enforcer.toml");
                let mut command = self.gateway.command(binary()?);
                command.args(["run", "--config", &config]);
                self.enforcer = Some(Process::start(command)?);
                Ok(())
            }
            Part::Command { words, printed, waits } => self.run(words, printed, *waits),
        }
    }

    /// Runs a command until it prints what the page has.
    fn run(&self, words: &str, wanted: &[&str], waits: bool) -> Result<()> {
        let mut last = String::new();
        let done = eventually(words, || {
            last = self.printed(words)?;
            let lines: Vec<&str> = last
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.is_empty())
                .collect();
            // The page leaves out what stands behind, and empty lines.
            let wanted: Vec<&str> = wanted
                .iter()
                .copied()
                .filter(|line| !line.is_empty())
                .chain(["…"])
                .collect();
            let is_like = are_like(&lines, &wanted);
            ensure!(is_like || waits, "it is not what the page has");
            Ok(is_like)
        });
        done.with_context(|| format!("{words}\nprints:\n{last}\nand the page has:\n{}", wanted.join("\n")))
    }

    fn printed(&self, words: &str) -> Result<String> {
        let mut words = words.split_whitespace();
        if words.next() != Some("enforcer") {
            bail!("not a command of the enforcer");
        }
        let mut words: Vec<&str> = words.collect();
        let alone = ["check", "test", "explain"];
        if !alone.contains(&words[0]) {
            words.extend(["--config", "enforcer.toml"]);
        }
        // Both outputs in their order, in the folder of the page.
        let mut command = self.gateway.command("sh");
        command.args(["-c", "cd \"$1\" && shift && exec \"$@\" 2>&1", "sh", FOLDER]);
        let mut child = command
            .arg(binary()?)
            .args(words)
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        while self.knocks.load(Ordering::Relaxed) && child.try_wait()?.is_none() {
            self.knock()?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
    }

    /// A session of the pump with its gateway.
    fn session(&self, from: u16, to: u16) -> Result<()> {
        use tcp_flags::{ACK, SYN};
        let ask = |flags| {
            packet()
                .from_mac(PUMP_MAC)
                .vlan(110)
                .ip(PUMP, SERVER)
                .tcp(from, to, flags)
                .build()
                .bytes
        };
        let answer = packet()
            .vlan(205)
            .ip(SERVER, PUMP)
            .tcp(to, from, SYN | ACK)
            .build()
            .bytes;
        for frame in [ask(SYN), answer, ask(ACK)] {
            self.switch.send(&frame)?;
        }
        Ok(())
    }

    fn work(&self) -> Result<()> {
        self.session(40_001, 443)?;
        self.session(40_002, 2575)
    }

    fn knock(&self) -> Result<()> {
        let knock = packet()
            .vlan(205)
            .ip(SERVER, PUMP)
            .tcp(50_000, 22, tcp_flags::SYN)
            .build();
        Ok(self.switch.send(&knock.bytes)?)
    }
}

#[test]
fn a_newcomer_gets_from_an_empty_folder_to_an_enforced_segment() -> Result<()> {
    let parts = parts(PAGE);
    assert!(parts.len() > 25, "the page has {} parts", parts.len());
    let mut ward = Ward::new()?;
    for part in &parts {
        ward.follow(part)?;
    }
    Ok(())
}

#[test]
fn lines_are_compared_as_the_page_says() {
    assert!(is_like("a b c", "a … c") && is_like("a b c", "a…") && is_like("a", "a…") && is_like("x y", "… y"));
    assert!(!is_like("a b c", "a … d") && !is_like("a b", "a") && !is_like("ab", "b…"));
    assert!(are_like(&["a", "b", "c"], &["a", "…", "c"]) && are_like(&["a"], &["…", "a", "…"]));
    assert!(!are_like(&["a", "b"], &["a"]) && !are_like(&["a"], &["…", "b"]));
}
