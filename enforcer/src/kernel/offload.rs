//! VLAN offloads, which hide the tags from XDP.
//!
//! A network card that strips tags on receipt (`rx-vlan-hw-parse`) hands XDP a frame without them. A veth does not
//! strip; there it is the other end that sends the tag beside the frame (`tx-vlan-hw-insert`). Either way tagged
//! frames would look untagged, so these are switched off before the program is attached. What was on is remembered
//! in the state directory, across restarts and reboots, and switched on again at `enforcer detach`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::ethtool;
use super::netdev::{self, NetDevice};
use crate::files::read_small;
use crate::private;

/// Features of a card that strip tags on receipt.
const RECEIVE: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
/// Features of a veth peer that send tags beside the frame.
const SEND: [&str; 2] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];

/// Whether the program will see tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// It will.
    Visible,
    /// The port is a veth whose other end is in another network namespace, out of reach.
    PeerElsewhere,
}

/// What was switched off, and has to be switched on again.
#[derive(Debug)]
pub struct Offloads {
    path: PathBuf,
    saved: Saved,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    schema_version: u32,
    interfaces: BTreeMap<String, Interface>,
}

impl Saved {
    const fn nothing() -> Self {
        Self {
            schema_version: 1,
            interfaces: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Interface {
    /// To tell it from a later interface of the same name.
    index: u32,
    /// Features that were on.
    features: Vec<String>,
}

impl Offloads {
    /// Reads what an earlier run remembered in the state directory, which is made if missing.
    pub fn open(state_directory: &Path) -> Result<Self, Error> {
        private::folder(state_directory).map_err(|error| {
            Error::system(
                format!("making the state directory {}", state_directory.display()),
                error,
            )
        })?;
        let path = state_directory.join("offloads.json");
        let saved = read_small(&path, 1).and_then(|text| Ok(serde_json::from_slice(&text)?));
        let saved = saved.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                set_aside(&path, &error);
            }
            Saved::nothing()
        });
        Ok(Self { path, saved })
    }

    /// Switches off what would hide tags from a program on `port`.
    ///
    /// # Errors
    /// When the driver cannot switch it off: the port must not be used then.
    pub fn reveal_tags(&mut self, port: &NetDevice) -> Result<Tags, Error> {
        if !port.veth {
            self.switch_off(port, &RECEIVE, &port.name)?;
            return Ok(Tags::Visible);
        }
        let peer = match port.peer {
            Some(peer) if !port.peer_elsewhere => netdev::by_index(peer)?,
            _ => None,
        };
        match peer {
            None => Ok(Tags::PeerElsewhere),
            Some(peer) => {
                self.switch_off(&peer, &SEND, &port.name)?;
                Ok(Tags::Visible)
            }
        }
    }

    fn switch_off(&mut self, device: &NetDevice, names: &[&str], port: &str) -> Result<(), Error> {
        let name = &device.name;
        let features =
            ethtool::features(name).map_err(|error| Error::system(format!("reading the features of {name}"), error))?;
        let on: Vec<&str> = features
            .iter()
            .filter(|feature| feature.on && names.contains(&feature.name.as_str()))
            .map(|feature| feature.name.as_str())
            .collect();
        if on.is_empty() {
            return Ok(());
        }
        self.remember(device, &on)?;
        let off: Vec<_> = on.iter().map(|feature| (*feature, false)).collect();
        ethtool::switch(name, &off).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EINVAL) => Error::Environment(format!(
                "port {port} is refused: {name} hides VLAN tags from XDP ({}), and its driver cannot switch that off: {error}. Use another interface",
                on.join(", ")
            )),
            _ => Error::system(format!("switching off VLAN offloads of {name}"), error),
        })?;
        tracing::info!(interface = %name, features = on.join(","), "switched off VLAN offloads, which hide tags");
        Ok(())
    }

    /// Adds to what is remembered, and to the file, before anything is switched.
    fn remember(&mut self, device: &NetDevice, features: &[&str]) -> Result<(), Error> {
        let entry = self
            .saved
            .interfaces
            .entry(device.name.clone())
            .or_insert_with(|| Interface {
                index: device.index,
                features: Vec::new(),
            });
        if entry.index != device.index {
            *entry = Interface {
                index: device.index,
                features: Vec::new(),
            };
        }
        for feature in features {
            if !entry.features.iter().any(|known| known == feature) {
                entry.features.push((*feature).to_owned());
            }
        }
        self.save()
    }

    /// Switches on again all that was switched off. What cannot be is logged, and forgotten.
    pub fn restore_all(&mut self) -> Result<(), Error> {
        for (name, interface) in std::mem::take(&mut self.saved.interfaces) {
            // An interface of another index is a new one with its own settings.
            let same = netdev::by_name(&name)?.is_some_and(|device| device.index == interface.index);
            if !same {
                continue;
            }
            let on: Vec<_> = interface
                .features
                .iter()
                .map(|feature| (feature.as_str(), true))
                .collect();
            match ethtool::switch(&name, &on) {
                Ok(()) => tracing::info!(interface = %name, "VLAN offloads are as they were before"),
                Err(error) => tracing::warn!(interface = %name, "cannot switch VLAN offloads on again: {error}"),
            }
        }
        // There is nothing to remember any more; to write so would take room on the disk.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::system(format!("removing {}", self.path.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the file whole: aside, to the disk, then renamed.
    fn save(&self) -> Result<(), Error> {
        let write = || -> io::Result<()> { private::replace(&self.path, &serde_json::to_vec_pretty(&self.saved)?) };
        write().map_err(|error| Error::system(format!("writing {}", self.path.display()), error))
    }
}

/// A damaged file is no reason to leave the ports bare.
fn set_aside(path: &Path, error: &io::Error) {
    let aside = path.with_extension("damaged");
    // Where that cannot be done, the next one replaces it.
    let _ = fs::rename(path, &aside);
    tracing::error!(
        "{} is damaged ({error}), and set aside: which VLAN offloads were on before is not known. `enforcer detach` will not switch them on \
         again; by hand: ethtool -K PORT rxvlan on",
        path.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, index: u32) -> NetDevice {
        NetDevice {
            name: name.into(),
            index,
            up: true,
            mtu: 1500,
            veth: false,
            peer: None,
            peer_elsewhere: false,
            xdp: None,
        }
    }

    /// Pitfall 2: the tags stayed hidden, and filters matched nothing. `vlan-challenged` stands for an offload that its driver
    /// cannot switch off: of the loopback interface it is on for good.
    #[test]
    fn a_port_that_goes_on_hiding_tags_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        let refused = offloads.switch_off(&device("lo", 1), &["vlan-challenged"], "trunk0");
        let error = refused.expect_err("it cannot be switched").to_string();
        assert!(error.contains("port trunk0 is refused: lo hides VLAN tags"), "{error}");
    }

    #[test]
    fn what_was_on_is_remembered_across_restarts_and_never_forgotten_by_a_second_look() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        offloads.remember(&device("eth0", 7), &["rx-vlan-hw-parse"]).unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        // At the second start it is off, which is not how it was before the first.
        offloads.remember(&device("eth0", 7), &[]).unwrap();
        let expected = Interface {
            index: 7,
            features: vec!["rx-vlan-hw-parse".into()],
        };
        assert_eq!(offloads.saved.interfaces["eth0"], expected);
    }

    #[test]
    fn a_new_interface_of_the_same_name_starts_afresh() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        offloads.remember(&device("eth0", 7), &["rx-vlan-hw-parse"]).unwrap();
        offloads.remember(&device("eth0", 8), &[]).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&offloads.path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            offloads.saved.interfaces["eth0"],
            Interface {
                index: 8,
                features: Vec::new()
            }
        );
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_keeps_nobody_from_enforcing() {
        for damage in ["{", "", "[]", "{\"schema_version\":1}"] {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("offloads.json");
            fs::write(&path, damage).unwrap();
            let mut offloads = Offloads::open(folder.path()).unwrap();
            assert_eq!(
                fs::read_to_string(folder.path().join("offloads.damaged")).unwrap(),
                damage
            );
            offloads.remember(&device("eth0", 7), &["rx-vlan-hw-parse"]).unwrap();
            assert_eq!(Offloads::open(folder.path()).unwrap().saved.interfaces.len(), 1);
        }
    }

    /// To write that nothing is remembered would need room on the disk.
    #[test]
    fn what_is_restored_is_forgotten_with_its_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        offloads.restore_all().unwrap();
        offloads
            .remember(&device("no-such-port", 7), &["rx-vlan-hw-parse"])
            .unwrap();
        offloads.restore_all().unwrap();
        assert!(!offloads.path.exists());
    }

    /// Pitfall 2: where nobody can tell whether tags are visible, that is said.
    #[test]
    fn a_veth_whose_peer_is_elsewhere_is_reported() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut offloads = Offloads::open(folder.path()).unwrap();
        let port = NetDevice {
            veth: true,
            peer: Some(3),
            peer_elsewhere: true,
            ..device("veth0", 9)
        };
        assert_eq!(offloads.reveal_tags(&port).unwrap(), Tags::PeerElsewhere);
    }
}
