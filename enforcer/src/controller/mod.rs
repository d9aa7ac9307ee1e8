//! From a configuration to enforcement, and from one policy to the next.
//!
//! Every change goes the same way: read and compile, load beside what runs, put on all ports, tell. What fails before
//! the last step leaves the running policy as it is.

mod boot;
mod clock;
mod compiled;
mod keep;
mod orders;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aya::maps::{Array, MapData};
use enforcer_common::abi::{Meta, settings_flags};

use crate::config::{Config, EventOutput, PortConfig};
use crate::diagnostics::Diagnostics;
use crate::kernel::generation::typed;
use crate::kernel::links::{self, PortLink, Wanted};
use crate::kernel::netdev::{self, NetDevice};
use crate::kernel::offload::{Offloads, Tags};
use crate::kernel::pins::Pins;
use crate::kernel::privileges;
use crate::kernel::{Error, Generation, LoadOptions, Peer, PortSetup, SharedMaps, SlotNames, VlanSet};
use crate::object::OBJECT;
use crate::revisions::{Pointer, Store, StoreError};
use crate::state::{GenerationNames, State, unix};
use clock::WallClock;
pub use compiled::{Compiled, read_policy};
use report::{generation_status, log_link};

/// Between two attempts to do by itself what failed: to put the program on an interface that came back, to go back to an earlier policy.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Why a policy is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The policy is wrong.
    #[error("{0}")]
    Policy(#[from] Diagnostics),
    /// The kernel, the interfaces or the pins.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// The store of revisions.
    #[error("the policy cannot be kept, and the running one stays in force: {0}")]
    Store(#[from] StoreError),
    /// A revision from before is not valid any more.
    #[error("revision {number} is not valid for this enforcer, and what is in force stays:\n{errors}")]
    Unfit {
        /// Its number.
        number: u32,
        /// What is wrong with it.
        errors: Diagnostics,
    },
    /// It was asked for at the wrong time.
    #[error("{0}")]
    Refused(String),
}

/// What is in force.
struct Running {
    generation: Generation,
    policy: Compiled,
}

/// Holds what is in force, and the generation before it.
pub struct Controller {
    config: Config,
    pins: Pins,
    offloads: Offloads,
    state: Arc<State>,
    store: Store,
    /// As it is on the disk, unless that is owed.
    pointer: Pointer,
    /// The disk had no room for it.
    owes_pointer: bool,
    /// Changes of the policy in force that the audit trail has.
    changes: u64,
    running: Option<Running>,
    /// The ports with a program: the running one, or one that an earlier controller left.
    links: Vec<PortLink>,
    /// Kept alive until the next swap.
    previous: Option<Generation>,
    next_repair: Instant,
    next_expiry: Instant,
    /// The wall clock as the policy in force was loaded by it.
    wall: WallClock,
}

impl Controller {
    /// Locks the pin directory, and looks up what an earlier controller left.
    pub fn open(config: Config, state: Arc<State>) -> Result<Self, Error> {
        privileges::check()?;
        let pins = Pins::create(&config.pin_directory)?;
        let offloads = Offloads::open(&config.state_directory)?;
        Ok(Self {
            store: Store::new(&config.state_directory),
            config,
            pins,
            offloads,
            state,
            pointer: Pointer::default(),
            owes_pointer: false,
            changes: 0,
            running: None,
            links: Vec::new(),
            previous: None,
            next_repair: Instant::now(),
            next_expiry: Instant::now(),
            wall: WallClock::read(),
        })
    }

    /// Looks whether the program is still on all ports and tags are visible. A port whose interface was deleted and
    /// made anew gets the running policy again. A change that nobody confirmed in time goes back: whether one did.
    pub fn watch(&mut self) -> bool {
        let went_back = self.expire();
        self.make_up();
        self.keep_tags_visible();
        self.state.bindings.sweep();
        if self.next_repair <= Instant::now()
            && let Err(error) = self.repair()
        {
            tracing::error!("{error}");
            self.next_repair = Instant::now() + RETRY_PAUSE;
        }
        self.follow_clock();
        self.tell_of_ports();
        went_back
    }

    fn take_off(mut self) -> Result<Vec<String>, Error> {
        self.running = None;
        self.links.clear();
        self.previous = None;
        let ports = self.pins.remove_all()?;
        self.state.update(|state| {
            (state.generation, state.policy_source, state.revision) = (None, None, None);
            state.ports.iter_mut().for_each(|port| port.attached = false);
        });
        self.offloads.restore_all()?;
        Ok(ports)
    }

    /// The generation in force.
    pub fn generation(&mut self) -> Option<&mut Generation> {
        self.running.as_mut().map(|running| &mut running.generation)
    }

    /// Puts the running policy on the ports again.
    fn reattach(&mut self) -> Result<(), Error> {
        let Some(running) = &self.running else {
            return Ok(());
        };
        let policy = running.policy.clone();
        self.put_in_force(policy)
    }

    fn put_in_force(&mut self, policy: Compiled) -> Result<(), Error> {
        self.keep_pinned()?;
        let wall = WallClock::read();
        let wanted = self.devices()?;
        for port in &wanted {
            self.reveal_tags(&port.device)?;
        }
        let ports = self.port_setups(&wanted, &policy);
        let none = SlotNames::default();
        let slots = self
            .running
            .as_ref()
            .map_or(&none, |running| running.generation.slots());
        let generation = Generation::load(&LoadOptions {
            object: OBJECT,
            tables: &policy.tables,
            ports: &ports,
            number: self.next_number()?,
            flags: settings_flags::FLOWS,
            event_rate: if self.config.events.output == EventOutput::None {
                0
            } else {
                self.config.events.rate
            },
            idle_seconds: self.config.idle_seconds,
            sizes: self.config.sizes,
            shared: SharedMaps::Pinned(self.pins.maps()),
            running: Some(slots),
            accesses: &self.config.management,
        })?;
        self.state.open_counters(&generation)?;
        self.state.publish_names(GenerationNames {
            number: generation.number(),
            tables: Arc::clone(&policy.tables),
            ports: ports.iter().map(|port| (port.ifindex, port.name.clone())).collect(),
        });
        note_number(&generation)?;
        let links = links::attach_all(&self.pins, &generation, &wanted)?;
        self.in_force(Running { generation, policy }, links);
        self.wall = wall;
        Ok(())
    }

    /// The policy is on all ports; nothing from here on can undo that, so nothing from here on is an error.
    fn in_force(&mut self, running: Running, links: Vec<PortLink>) {
        for link in &links {
            log_link(link, self.running.is_none());
        }
        let inventory = Arc::clone(&running.policy.inventory);
        if let Err(error) = self.state.bindings.follow(&running.generation, inventory) {
            tracing::error!("addresses learnt by DHCP do not follow the policy: {error}");
        }
        let now = SystemTime::now();
        if let Err(error) = write_meta(&running, now) {
            tracing::warn!("cannot note the generation in the kernel: {error}");
        }
        match self.detach_unconfigured() {
            Ok(ports) => ports
                .iter()
                .for_each(|port| tracing::info!(port, "detached: it is not configured any more")),
            Err(error) => tracing::warn!("cannot detach ports that are not configured any more: {error}"),
        }
        let status = generation_status(&running, now);
        tracing::info!(
            generation = status.number,
            policy = &status.policy_hash[..12],
            ports = links.len(),
            "policy in force"
        );
        self.state.update(|state| {
            state.generation = Some(status);
            state.policy_source = Some(running.policy.source);
            state.revision = running.policy.revision;
        });
        self.links = links;
        self.previous = self.running.replace(running).map(|running| running.generation);
        self.tell_of_ports();
    }

    /// The interfaces of the ports. One that is missing is an error at the start, and left out later.
    fn devices(&self) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        for port in &self.config.ports {
            match netdev::by_name(&port.interface)? {
                Some(device) => wanted.push(Wanted {
                    device,
                    mode: port.mode,
                }),
                None if self.running.is_some() => tracing::error!(port = port.interface, "the interface is gone"),
                None => {
                    return Err(Error::Environment(format!(
                        "there is no interface {}, which a [[port]] section names. `ip -br link` lists those there are in this network namespace",
                        port.interface
                    )));
                }
            }
        }
        Ok(wanted)
    }

    fn reveal_tags(&mut self, device: &NetDevice) -> Result<(), Error> {
        let tags = self.offloads.reveal_tags(device)?;
        let name = &device.name;
        let known = self
            .state
            .status()
            .ports
            .iter()
            .any(|port| port.name == *name && port.attached);
        if tags == Tags::PeerElsewhere && !known {
            tracing::warn!(
                "{name} is a veth whose other end is in another network namespace. If that end offloads VLAN tags, they \
                 are hidden and tagged frames look untagged: run `ethtool -K PEER txvlan off tx-vlan-stag-hw-insert \
                 off` there"
            );
        }
        self.state.update(|status| {
            let ports = status.ports.iter_mut().filter(|port| port.name == *name);
            ports.for_each(|port| port.tags_checked = tags == Tags::Visible);
        });
        Ok(())
    }

    fn port_setups(&self, wanted: &[Wanted], policy: &Compiled) -> Vec<PortSetup> {
        let devices: Vec<_> = wanted.iter().map(|wanted| &wanted.device).collect();
        port_setups(&self.config, &devices, policy)
    }

    /// One more than the newest generation that was ever attached here. A number is never used twice, not even after a
    /// failure: a flow that bears it would count as decided by the wrong policy. Where flows are left and the number was removed,
    /// the clock gives one that is larger than any before.
    fn next_number(&self) -> Result<u32, Error> {
        let bear_it = ["FLOWS", "HALF_OPEN", "FRAGMENTS"];
        let some_are_left = bear_it.iter().any(|name| self.pins.maps().join(name).exists());
        let first = if some_are_left {
            unix(SystemTime::now()) as u32
        } else {
            1
        };
        Ok(self.meta()?.map_or(first, |meta| meta.generation + 1))
    }

    /// What the kernel was told of the policy in force; `None` before the first.
    fn meta(&self) -> Result<Option<Meta>, Error> {
        let path = self.pins.maps().join("META");
        if !path.exists() {
            return Ok(None);
        }
        let opening = |error| Error::aya(format!("opening {}", path.display()), &error);
        let map: Array<MapData, Meta> = typed(MapData::from_pin(&path).map_err(opening)?, "META")?;
        map.get(&0, 0).map(Some).map_err(opening)
    }

    /// Whether a port lacks its program although its interface is there.
    fn is_reattachment_due(&self) -> bool {
        if self.running.is_none() {
            return false;
        }
        self.config.ports.iter().any(|port| {
            let link = self.links.iter().find(|link| link.interface == port.interface);
            !link.is_some_and(PortLink::is_alive) && netdev::by_name(&port.interface).is_ok_and(|found| found.is_some())
        })
    }

    /// Puts the policy where an interface came back, and pins where somebody removed them.
    fn repair(&mut self) -> Result<(), Error> {
        if self.is_reattachment_due() {
            tracing::warn!("an interface is back, or was made anew: putting the policy on it");
            self.reattach()?;
        }
        self.keep_pinned()
    }

    fn keep_pinned(&self) -> Result<(), Error> {
        for link in &self.links {
            if link.keep_pinned(&self.pins)? {
                let port = &link.interface;
                tracing::error!(port, "somebody removed the pin of this port's link: pinned it again");
            }
        }
        if let Some(running) = &self.running {
            let tables = running.generation.keep_pinned(&self.pins)?;
            if !tables.is_empty() {
                let tables = tables.join(", ");
                tracing::error!(tables, "somebody removed the pins of these tables: pinned them again");
            }
        }
        Ok(())
    }

    fn keep_tags_visible(&mut self) {
        let names: Vec<_> = self.config.ports.iter().map(|port| port.interface.clone()).collect();
        for name in names {
            if let Ok(Some(device)) = netdev::by_name(&name)
                && let Err(error) = self.reveal_tags(&device)
            {
                tracing::error!("{error}");
            }
        }
    }

    fn detach_unconfigured(&self) -> Result<Vec<String>, Error> {
        let names: Vec<&str> = self.config.ports.iter().map(|port| port.interface.as_str()).collect();
        links::detach_others(&self.pins, &names)
    }

    /// After a failed start: offloads are as they were, unless an earlier enforcement goes on.
    fn leave_as_found(&mut self) {
        match self.pins.links() {
            Ok(links) if links.is_empty() => {
                if let Err(error) = self.offloads.restore_all() {
                    tracing::error!("{error}");
                }
            }
            Ok(links) => tracing::warn!(ports = links.join(","), "the enforcement from before goes on"),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// The ports among these interfaces, as the program is told of them under a policy.
pub(crate) fn port_setups(config: &Config, devices: &[&NetDevice], policy: &Compiled) -> Vec<PortSetup> {
    let index = |name: &str| {
        let found = devices.iter().find(|device| device.name == name);
        found.map_or(0, |device| device.index)
    };
    // A port without a list of its own lets the VLANs of management in, whatever the policy declares.
    let mut open = policy.vlans;
    (config.management.iter()).for_each(|access| open.insert(access.outer_vlan));
    let setup = |device: &&NetDevice| {
        let number = (config.ports.iter()).position(|port| port.interface == device.name)?;
        let port = &config.ports[number];
        let peer = port.pair.as_deref().map(|pair| Peer {
            key: number as u32,
            ifindex: index(pair),
        });
        Some(PortSetup {
            pass_undeclared: policy.pass_undeclared,
            ..port_setup(port, device.index, peer, &open)
        })
    };
    devices.iter().filter_map(setup).collect()
}

fn port_setup(config: &PortConfig, ifindex: u32, peer: Option<Peer>, declared: &VlanSet) -> PortSetup {
    PortSetup {
        name: config.interface.clone(),
        ifindex,
        vlans: config.vlans.unwrap_or(*declared),
        native_vlan: config.native_vlan,
        monitor: config.monitor,
        pass_undeclared: false,
        control: config.control,
        peer,
        uplink: config.uplink,
    }
}

/// Notes in the kernel that the generation is about to be attached.
fn note_number(generation: &Generation) -> Result<(), Error> {
    let writing = |error| Error::aya("writing META", &error);
    let mut map: Array<MapData, Meta> = typed(generation.map("META")?, "META")?;
    let meta = map.get(&0, 0).map_err(writing)?;
    let meta = Meta {
        generation: generation.number(),
        ..meta
    };
    map.set(0, meta, 0).map_err(writing)
}

/// Notes in the kernel what is in force.
fn write_meta(running: &Running, now: SystemTime) -> Result<(), Error> {
    let writing = |error| Error::aya("writing META", &error);
    let mut map: Array<MapData, Meta> = typed(running.generation.map("META")?, "META")?;
    let meta = Meta {
        generation: running.generation.number(),
        attached_at: unix(now),
        policy_hash: running.policy.tables.policy_hash,
        ..map.get(&0, 0).map_err(writing)?
    };
    map.set(0, meta, 0).map_err(writing)
}
