//! Putting a generation on the ports: all of them or none.
//!
//! A link that is pinned from before is adopted: the program that it runs is replaced in one step, so every frame
//! meets one whole policy. Where there is none, one is made and pinned. When one port fails, those done before it get
//! their earlier program back, or are detached again.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya_obj::generated::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};

use super::error::Error;
use super::generation::Generation;
use super::netdev::{self, NetDevice};
use super::pins::Pins;
use super::sys::{self, LinkInfo};
use crate::config::XdpMode;

/// A port that a generation has to be put on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The interface.
    pub device: NetDevice,
    /// How the program is to run.
    pub mode: XdpMode,
}

/// A port with the program on it.
#[derive(Debug)]
pub struct PortLink {
    /// The interface's name.
    pub interface: String,
    /// The interface's index.
    pub ifindex: u32,
    /// How the program runs.
    pub mode: XdpMode,
    /// How it came to be.
    pub how: How,
    link: OwnedFd,
}

/// How a generation came onto a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing of the enforcer was there.
    Attached,
    /// It replaced the program of a link that was there.
    Replaced,
    /// The link that was there belonged to a deleted interface of the same name.
    Reattached,
}

impl PortLink {
    /// Whether the link is still on its interface, and what it runs.
    pub fn info(&self) -> Result<LinkInfo, Error> {
        sys::link_info(self.link.as_fd())
            .map_err(|error| Error::system(format!("looking at the link of {}", self.interface), error))
    }

    /// False when the interface was deleted, or moved out of sight.
    pub fn is_alive(&self) -> bool {
        self.info().is_ok_and(|info| info.ifindex == self.ifindex)
    }

    /// Pins the link again when somebody removed its pin, unless it is dead: without one, enforcement would end with this
    /// process. Returns whether it had to.
    pub fn keep_pinned(&self, pins: &Pins) -> Result<bool, Error> {
        if fs::symlink_metadata(pins.link(&self.interface)).is_ok() || !self.is_alive() {
            return Ok(false);
        }
        pins.make_folders()?;
        pin(pins, &self.interface, &self.link)?;
        Ok(true)
    }
}

/// A step that was taken, with what it needs to be taken back.
struct Done {
    port: PortLink,
    before: Option<OwnedFd>,
}

/// Puts a generation on all of `wanted`, or on none.
pub fn attach_all(pins: &Pins, generation: &Generation, wanted: &[Wanted]) -> Result<Vec<PortLink>, Error> {
    let program = generation.program_fd()?;
    let mut done = Vec::new();
    for port in wanted {
        match attach(pins, &program, port) {
            Ok(step) => done.push(step),
            Err(error) => {
                roll_back(pins, &program, done);
                return Err(error);
            }
        }
    }
    Ok(done.into_iter().map(|done| done.port).collect())
}

/// The pinned link of a port, when it is on that interface.
pub fn alive(pins: &Pins, device: &NetDevice, mode: XdpMode) -> Result<Option<PortLink>, Error> {
    let found = existing(pins, &device.name)?.filter(|(_, info)| info.ifindex == device.index);
    Ok(found.map(|(link, _)| PortLink {
        interface: device.name.clone(),
        ifindex: device.index,
        mode,
        how: How::Replaced,
        link,
    }))
}

/// Detaches the ports whose links are pinned but which are not among `names`. Returns them.
pub fn detach_others(pins: &Pins, names: &[&str]) -> Result<Vec<String>, Error> {
    let mut others = pins.links()?;
    others.retain(|name| !names.contains(&name.as_str()));
    for name in &others {
        remove_pin(pins, name)?;
    }
    Ok(others)
}

fn attach(pins: &Pins, program: &OwnedFd, port: &Wanted) -> Result<Done, Error> {
    let name = &port.device.name;
    match existing(pins, name)? {
        Some((link, info)) if info.ifindex == port.device.index => replace(program, port, link, info),
        Some((_, info)) if info.ifindex == 0 => {
            remove_pin(pins, name)?;
            create(pins, program, port, How::Reattached)
        }
        Some((_, info)) => Err(Error::Environment(format!(
            "the link pinned as {} is on interface index {}, but {name} has index {}: an interface was renamed. Give it its earlier name, or `enforcer detach` and start again",
            pins.link(name).display(),
            info.ifindex,
            port.device.index
        ))),
        None => create(pins, program, port, How::Attached),
    }
}

/// The link of a port that is pinned from before.
fn existing(pins: &Pins, name: &str) -> Result<Option<(OwnedFd, LinkInfo)>, Error> {
    let path = pins.link(name);
    let opening = |error| Error::system(format!("opening the pinned link {}", path.display()), error);
    let link = match sys::object_get(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        link => link.map_err(opening)?,
    };
    let info = sys::link_info(link.as_fd()).map_err(opening)?;
    Ok(Some((link, info)))
}

fn create(pins: &Pins, program: &OwnedFd, port: &Wanted, how: How) -> Result<Done, Error> {
    let flags = match port.mode {
        XdpMode::Native => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let name = &port.device.name;
    let link = sys::link_create(program.as_fd(), port.device.index, flags)
        .map_err(|error| not_attached(&port.device, port.mode, error))?;
    // Without the pin the link would end with this process: dropping it here detaches again.
    pin(pins, name, &link)?;
    Ok(Done {
        port: linked(port, how, link),
        before: None,
    })
}

fn pin(pins: &Pins, name: &str, link: &OwnedFd) -> Result<(), Error> {
    let path = pins.link(name);
    sys::object_pin(link.as_fd(), &path)
        .map_err(|error| Error::system(format!("pinning the link {}", path.display()), error))
}

fn replace(program: &OwnedFd, port: &Wanted, link: OwnedFd, info: LinkInfo) -> Result<Done, Error> {
    let name = &port.device.name;
    if let Some(mode) = port.device.xdp.and_then(|xdp| xdp.mode)
        && mode != port.mode
    {
        return Err(Error::Environment(format!(
            "{name} runs in {} mode and is configured for {} mode, which cannot be changed while it runs. `enforcer detach`, then `enforcer run`",
            mode.name(),
            port.mode.name()
        )));
    }
    let replacing = |error| Error::system(format!("replacing the program on {name}"), error);
    let before = sys::program_by_id(info.program).map_err(replacing)?;
    sys::link_update(link.as_fd(), program.as_fd(), before.as_fd()).map_err(replacing)?;
    Ok(Done {
        port: linked(port, How::Replaced, link),
        before: Some(before),
    })
}

fn linked(port: &Wanted, how: How, link: OwnedFd) -> PortLink {
    PortLink {
        interface: port.device.name.clone(),
        ifindex: port.device.index,
        mode: port.mode,
        how,
        link,
    }
}

/// Undoes steps, the last one first. What cannot be undone is logged: there is nobody left to tell.
fn roll_back(pins: &Pins, program: &OwnedFd, done: Vec<Done>) {
    for Done { port, before } in done.into_iter().rev() {
        let undone = match before {
            Some(before) => sys::link_update(port.link.as_fd(), before.as_fd(), program.as_fd())
                .map_err(|error| Error::system("putting the earlier program back", error)),
            None => remove_pin(pins, &port.interface),
        };
        match undone {
            Ok(()) => tracing::info!(port = port.interface, "as it was before"),
            Err(error) => tracing::error!(port = port.interface, "{error}"),
        }
    }
}

fn remove_pin(pins: &Pins, name: &str) -> Result<(), Error> {
    let path = pins.link(name);
    fs::remove_file(&path).map_err(|error| Error::system(format!("removing {}", path.display()), error))
}

/// Why a program could not be attached, with what to do.
fn not_attached(device: &NetDevice, mode: XdpMode, error: io::Error) -> Error {
    let name = &device.name;
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => occupied(name),
        Some(libc::EOPNOTSUPP) if mode == XdpMode::Native => Error::Environment(format!(
            "the driver of {name} has no native XDP. Use a card that has, or accept the slow path: mode = \"generic\" in the [[port]] section of {name}"
        )),
        Some(libc::EINVAL | libc::ERANGE) => Error::Environment(format!(
            "the driver of {name} refuses the program in {} mode ({error}). Often its MTU ({}) is too large for XDP, or LRO is on (ethtool -K {name} lro off); the kernel's log (dmesg) may say more",
            mode.name(),
            device.mtu
        )),
        _ => Error::system(format!("attaching to {name}"), error),
    }
}

fn occupied(name: &str) -> Error {
    let current = netdev::by_name(name).ok().flatten().and_then(|device| device.xdp);
    let program = current.map(|xdp| xdp.program).filter(|id| *id != 0);
    let which = program.map_or_else(|| "an XDP program".to_owned(), |id| format!("XDP program {id}"));
    let show = program.map_or_else(|| "bpftool net".to_owned(), |id| format!("bpftool prog show id {id}"));
    Error::Environment(format!(
        "{name} already runs {which}, which the enforcer did not put there and does not replace. See what it is (`{show}`), and remove it: `ip link set dev {name} xdp off`, or stop the program that holds it"
    ))
}
