//! The interfaces, and what is attached to them.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use enforcer_common::abi::ABI_VERSION;

use super::Finding;
use crate::config::{Config, PortConfig, XdpMode};
use crate::kernel::netdev::{self, NetDevice};
use crate::kernel::sys::{self, LinkInfo};
use crate::kernel::{ethtool, pins};

/// Offloads that hide tags from the program, and those that make frames larger than the wire had them.
const HARMFUL: [(&str, &str); 4] = [
    ("rx-vlan-hw-parse", "rxvlan"),
    ("rx-vlan-stag-hw-parse", "rx-vlan-stag-hw-parse"),
    ("rx-lro", "lro"),
    ("rx-gro-hw", "rx-gro-hw"),
];

/// Drivers of Linux that have native XDP, at the latest in 6.18.
const NATIVE: [&str; 40] = [
    "am65-cpsw-nuss",
    "atlantic",
    "bnxt_en",
    "bonding",
    "cpsw",
    "cpsw-switch",
    "dpaa2-eth",
    "ena",
    "fec",
    "fsl_dpa",
    "fsl_enetc",
    "fsl_enetc4",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "idpf",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "lan966x-switch",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mtk_soc_eth",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "qede",
    "sfc",
    "st_gmac",
    "stmmac",
    "thunder-nicvf",
    "tun",
    "veth",
    "virtio_net",
];
/// With a larger MTU a frame takes more than one page, which fewer drivers can show to a program.
const ONE_PAGE: u32 = 3498;

pub(super) fn examine(config: &Config, port: &PortConfig) -> Vec<Finding> {
    let name = &port.interface;
    let subject = format!("port {name}");
    let device = match netdev::by_name(name) {
        Ok(Some(device)) => device,
        Ok(None) => {
            let what = "there is no such interface in this network namespace";
            return vec![Finding::error(subject, what, "ip -br link")];
        }
        Err(error) => return vec![Finding::error(subject, error.to_string(), "ip -br link")],
    };
    let mut findings = vec![
        link(&subject, &device),
        driver(&subject, port),
        offloads(&subject, name, device.veth),
        queues(&subject, name),
        program(&subject, config, port, &device),
    ];
    findings.extend(mtu(&subject, port, &device));
    findings
}

fn link(subject: &str, device: &NetDevice) -> Finding {
    if device.up {
        return Finding::ok(subject, format!("up, with a carrier; MTU {}", device.mtu));
    }
    let cure = format!("ip link set dev {} up", device.name);
    Finding::warning(subject, "down, or without a carrier", cure)
}

/// Whether the driver is known to run a program by itself.
fn driver(subject: &str, port: &PortConfig) -> Finding {
    let name = &port.interface;
    match ethtool::driver(name) {
        Ok(driver) => judge_driver(subject, port.mode, &driver),
        Err(error) => {
            let what = format!("its driver cannot be asked for: {error}");
            Finding::warning(subject, what, format!("ethtool -i {name}"))
        }
    }
}

fn judge_driver(subject: &str, mode: XdpMode, driver: &str) -> Finding {
    let native = NATIVE.contains(&driver);
    match mode {
        XdpMode::Native if !native => Finding::warning(
            subject,
            format!(
                "driver {driver}: not known to have native XDP; `enforcer run` will refuse the port if it has none"
            ),
            "mode = \"generic\" for this port, which is several times slower, or a card with native XDP",
        ),
        XdpMode::Generic if native => Finding::warning(
            subject,
            format!("driver {driver} has native XDP, and generic mode is configured, which is several times slower"),
            "mode = \"native\" for this port",
        ),
        _ => Finding::ok(subject, format!("driver {driver}, for {} mode", mode.name())),
    }
}

/// Both ports of a pair need one MTU, and large ones do not work with every driver.
fn mtu(subject: &str, port: &PortConfig, device: &NetDevice) -> Option<Finding> {
    let peer = port.pair.as_ref().and_then(|name| netdev::by_name(name).ok().flatten());
    match peer {
        Some(peer) if peer.mtu != device.mtu => Some(Finding::error(
            subject,
            format!(
                "MTU {}, and {} of the pair has {}: longer frames are lost on the way out",
                device.mtu, peer.name, peer.mtu
            ),
            {
                let smaller = if peer.mtu < device.mtu {
                    &peer.name
                } else {
                    &device.name
                };
                format!("ip link set dev {smaller} mtu {}", peer.mtu.max(device.mtu))
            },
        )),
        _ if device.mtu > ONE_PAGE => Some(Finding::warning(
            subject,
            format!(
                "MTU {}: a driver that shows only the first page of a frame to XDP refuses the program",
                device.mtu
            ),
            format!(
                "ip link set dev {} mtu 1500    # should `enforcer run` be refused",
                device.name
            ),
        )),
        _ => None,
    }
}

fn offloads(subject: &str, name: &str, veth: bool) -> Finding {
    let features = match ethtool::features(name) {
        Ok(features) => features,
        Err(error) => {
            let what = format!("its offloads cannot be read: {error}");
            return Finding::warning(subject, what, format!("ethtool -k {name}"));
        }
    };
    let on = |wanted: &str| features.iter().any(|feature| feature.name == wanted && feature.on);
    let harmful: Vec<&str> = HARMFUL
        .iter()
        // A veth has the features of receipt, and strips nothing: there it is the sender that hides tags.
        .filter(|(feature, _)| on(feature) && !(veth && feature.starts_with("rx-vlan")))
        .map(|(_, word)| *word)
        .collect();
    if harmful.is_empty() {
        return Finding::ok(subject, "no offload hides tags or merges frames");
    }
    let off: Vec<String> = harmful.iter().map(|word| format!("{word} off")).collect();
    let what = format!(
        "{} on; `enforcer run` switches VLAN offloads off by itself",
        harmful.join(", ")
    );
    Finding::warning(subject, what, format!("ethtool -K {name} {}", off.join(" ")))
}

/// Receive queues against processors: one queue is one processor's work.
fn queues(subject: &str, name: &str) -> Finding {
    let entries = fs::read_dir(format!("/sys/class/net/{name}/queues"))
        .into_iter()
        .flatten();
    let received = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"rx-");
    let queues = entries.flatten().filter(received).count();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let what = format!("{queues} receive queues, {processors} processors");
    if queues == 0 || queues >= processors {
        return Finding::ok(subject, what);
    }
    let cure = format!("ethtool -L {name} combined {processors}");
    Finding::warning(subject, format!("{what}: some receive no frames"), cure)
}

fn program(subject: &str, config: &Config, port: &PortConfig, device: &NetDevice) -> Finding {
    let name = &port.interface;
    let root = config.pin_directory.join(format!("v{ABI_VERSION}"));
    let path = root.join("links").join(pins::pin_name(name));
    let info = match sys::object_get(&path).and_then(|pinned| sys::link_info(pinned.as_fd())) {
        Ok(info) => Some(info),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        Err(error) => {
            let what = format!("its pinned link cannot be read: {error}");
            return Finding::warning(subject, what, "run it as root: sudo enforcer doctor");
        }
    };
    let ours = device.xdp.is_some_and(|xdp| is_enforcer(xdp.program));
    judge(subject, port, device, Pinned { path: &path, info }, ours)
}

/// A port's place in the configured pin directory.
#[derive(Clone, Copy)]
struct Pinned<'a> {
    path: &'a Path,
    /// The link that is pinned there.
    info: Option<LinkInfo>,
}

/// Whether a program bears the name of the enforcer's. To ask takes root.
fn is_enforcer(program: u32) -> bool {
    sys::program_info(program).is_some_and(|info| info.name_as_str() == Some("enforcer"))
}

/// What enforces only for as long as a process holds it. A controller pins its links again within a second; so none of this
/// configuration runs.
fn unpinned(subject: &str, program: u32, path: &Path) -> Finding {
    let what = format!(
        "runs XDP program {program}, an enforcer's, without a link pinned as {}: by another pin_directory, or another version, or it \
         ends with the process that holds it",
        path.display()
    );
    let cure = "systemctl status enforcer    # do not take the program off: it enforces. Is this the configuration that it was started with?";
    Finding::error(subject, what, cure)
}

/// `ours`: the program on the port bears the enforcer's name.
fn judge(subject: &str, port: &PortConfig, device: &NetDevice, pinned: Pinned<'_>, ours: bool) -> Finding {
    let name = &port.interface;
    let alive = pinned.info.filter(|info| info.ifindex == device.index);
    match (alive, pinned.info, device.xdp) {
        (Some(info), _, Some(xdp)) if xdp.program == info.program => mode(subject, port, xdp.mode),
        (_, _, Some(xdp)) if ours => unpinned(subject, xdp.program, pinned.path),
        (_, _, Some(xdp)) => Finding::error(
            subject,
            format!("runs XDP program {}, which is not the enforcer's", xdp.program),
            format!(
                "bpftool prog show id {}    # stop what holds it, or: ip link set dev {name} xdp off",
                xdp.program
            ),
        ),
        (_, Some(_), _) => Finding::error(
            subject,
            "its pinned link is dead: the interface was deleted, or made anew, and nothing is enforced",
            "systemctl restart enforcer",
        ),
        (_, None, _) => Finding::ok(subject, "no program is on it, and nothing is in the way of one"),
    }
}

fn mode(subject: &str, port: &PortConfig, found: Option<XdpMode>) -> Finding {
    match found {
        Some(found) if found != port.mode => Finding::error(
            subject,
            format!(
                "runs in {} mode, and is configured for {}",
                found.name(),
                port.mode.name()
            ),
            "enforcer detach && systemctl start enforcer",
        ),
        Some(XdpMode::Generic) => Finding::warning(
            subject,
            "enforced in generic mode, which is several times slower",
            "mode = \"native\" for this port, on a card whose driver has native XDP",
        ),
        _ => Finding::ok(subject, format!("enforced, in {} mode", port.mode.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;
    use crate::kernel::netdev::Xdp;

    fn found(xdp: Option<(u32, XdpMode)>, pinned: Option<(u32, u32)>, ours: bool) -> Finding {
        let text = "policy = [\"p\"]\n[[port]]\ninterface = \"lo\"\n";
        let config = crate::config::parse(std::path::Path::new("enforcer.toml"), text.into()).unwrap();
        let mut device = netdev::by_name("lo").unwrap().unwrap();
        device.xdp = xdp.map(|(program, mode)| Xdp {
            program,
            mode: Some(mode),
        });
        let info = pinned.map(|(program, ifindex)| LinkInfo {
            id: 1,
            program,
            ifindex,
        });
        let path = Path::new("/sys/fs/bpf/enforcer/links/lo");
        judge("port lo", &config.ports[0], &device, Pinned { path, info }, ours)
    }

    #[test]
    fn a_driver_is_held_against_the_mode() {
        for (mode, driver, expected) in [
            (XdpMode::Native, "mlx5_core", None),
            (XdpMode::Native, "e1000e", Some("mode = \"generic\"")),
            (XdpMode::Generic, "veth", Some("mode = \"native\"")),
            (XdpMode::Generic, "e1000e", None),
        ] {
            let finding = judge_driver("port lo", mode, driver);
            let cure = finding.cure.as_deref();
            assert!(
                cure.is_none() == expected.is_none()
                    && cure.unwrap_or_default().starts_with(expected.unwrap_or_default()),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn what_is_on_a_port_is_told_apart() {
        let native = Some((7, XdpMode::Native));
        assert_eq!(found(None, None, false).severity, Severity::Ok);
        assert_eq!(found(native, Some((7, 1)), true).what, "enforced, in native mode");
        for (xdp, pinned, ours, expected) in [
            (native, None, false, "not the enforcer's"),
            (native, None, true, "an enforcer's, without a link"),
            (native, Some((7, 0)), false, "not the enforcer's"),
            (native, Some((8, 1)), false, "not the enforcer's"),
            (None, Some((7, 0)), false, "dead"),
            (None, Some((7, 1)), false, "dead"),
            (Some((7, XdpMode::Generic)), Some((7, 1)), true, "configured for native"),
        ] {
            let finding = found(xdp, pinned, ours);
            assert!(finding.what.contains(expected), "{finding:?}");
            assert_eq!(finding.severity, Severity::Error);
        }
    }
    #[test]
    fn a_dead_pin_does_not_make_an_enforcers_program_a_foreign_one() {
        // Of another configuration: to take it off would end its enforcement.
        let finding = found(Some((7, XdpMode::Native)), Some((6, 0)), true);
        assert!(finding.what.contains("an enforcer's, without a link"), "{finding:?}");
        assert!(!finding.cure.unwrap_or_default().contains("xdp off"));
    }
}
