//! A step of the demo: what somebody does, and what must become of it.

use std::io;
use std::net::TcpStream;
use std::ops::RangeInclusive;

use enforcer_common::verdict::DropReason;

use crate::packet::Frame;

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happens, in a few words.
    pub title: &'static str,
    /// The device that does it.
    pub from: &'static str,
    /// The device that it is aimed at; empty for frames that nobody would get.
    pub to: &'static str,
    /// How it is done.
    pub action: Action,
    /// What must become of it.
    pub expect: Expect,
}

/// What a device does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connects to a port and talks; fine when the talk comes to its proper end.
    Tcp {
        /// The port.
        port: u16,
        /// What is said.
        talk: fn(TcpStream) -> io::Result<()>,
    },
    /// Sends so many waveforms to the central station, which must get each.
    Waveforms {
        /// How many datagrams.
        count: u16,
    },
    /// Asks a name server.
    Resolve,
    /// Sends an echo request and waits for the reply: to the device, or to its own gateway when it has no target.
    Ping,
    /// Tries to connect to every port.
    Scan {
        /// The ports.
        ports: RangeInclusive<u16>,
    },
    /// Sends frames as they are, from the device's own port at the switch.
    Frames(fn() -> Vec<Frame>),
    /// Sends the same frame again and again from the device's own port at the switch, for a second.
    Flood {
        /// Frames a second.
        rate: u32,
        /// The frame.
        frame: fn() -> Frame,
    },
    /// Sends frames as they are on the trunk, as only a broken or malicious switch would.
    TrunkFrames(fn() -> Vec<Frame>),
}

/// What must become of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It works, by this rule.
    Pass {
        /// The rule whose counter grows.
        rule: &'static str,
    },
    /// Nothing of it gets behind the enforcer.
    Drop {
        /// The reason that the event gives and the counter counts.
        reason: DropReason,
        /// The rule that the event gives, if any.
        rule: Option<&'static str>,
    },
    /// It is permitted, but a limit lets through only so much of it.
    Held {
        /// The rule that permits it.
        rule: &'static str,
        /// The reason that the event gives and the counter counts.
        reason: DropReason,
        /// Frames a second.
        rate: u32,
        /// Frames at once.
        burst: u32,
    },
    /// It works, but is counted as what enforcement would refuse.
    WouldDrop {
        /// The reason that the event gives and the counter counts.
        reason: DropReason,
        /// The rule that the event gives, if any.
        rule: Option<&'static str>,
    },
}

/// Steps that belong together.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// The heading.
    pub title: &'static str,
    /// The steps, in order.
    pub steps: Vec<Step>,
}
