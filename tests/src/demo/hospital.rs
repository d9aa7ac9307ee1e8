//! The hospital of `policies/`, as far as the demo needs it: its devices, and what they serve.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::clinical::{dicom, hl7, simple};
use crate::lab::{Lab, Plan, Service};

/// An address beyond the uplink.
pub const INTERNET_HOST: &str = "203.0.113.80";

/// A running hospital, without an enforcer.
#[derive(Debug)]
pub struct Hospital {
    #[expect(dead_code, reason = "held for its drop, which stops the servers")]
    services: Vec<Service>,
    /// The network.
    pub lab: Lab,
}

impl Hospital {
    /// Builds it. Addresses, hardware addresses and VLANs are those of `policies/devices.yaml` and `zones.yaml`.
    pub fn build() -> Result<Self> {
        let lab = plan().build()?;
        let services = services(&lab)?;
        Ok(Self { services, lab })
    }
}

/// Its devices.
pub fn plan() -> Plan {
    Plan::new()
        .device(
            "pump-icu-01",
            110,
            [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01],
            "10.10.110.21/24",
        )
        .device(
            "monitor-icu-01",
            120,
            [0x00, 0x09, 0xfb, 0x00, 0x02, 0x01],
            "10.10.120.21/24",
        )
        .device("ct-01", 130, [0x00, 0x10, 0x49, 0x00, 0x04, 0x01], "10.10.130.21/24")
        .device(
            "analyser-01",
            140,
            [0x00, 0x50, 0xc2, 0x00, 0x05, 0x01],
            "10.10.140.21/24",
        )
        .device("jump-01", 190, [0x00, 0x16, 0x3e, 0x00, 0x09, 0x01], "10.10.190.10/24")
        .device("dns-01", 201, [0x02, 0x00, 0x00, 0x20, 0x01, 0x53], "10.20.1.53/24")
        .device(
            "pump-gateway-01",
            205,
            [0x02, 0x00, 0x00, 0x20, 0x05, 0x10],
            "10.20.5.10/24",
        )
        .device("pacs-01", 211, [0x02, 0x00, 0x00, 0x20, 0x11, 0x10], "10.20.11.10/24")
        .device(
            "central-station-01",
            212,
            [0x02, 0x00, 0x00, 0x20, 0x12, 0x10],
            "10.20.12.10/24",
        )
        .device(
            "hl7-engine-01",
            213,
            [0x02, 0x00, 0x00, 0x20, 0x13, 0x10],
            "10.20.13.10/24",
        )
        .device("lis-01", 214, [0x02, 0x00, 0x00, 0x20, 0x14, 0x10], "10.20.14.10/24")
        .device("guest", 666, [0x02, 0x00, 0x00, 0x66, 0x00, 0x42], "10.66.0.42/16")
        .device(
            "internet",
            900,
            [0x02, 0x00, 0x00, 0x90, 0x00, 0x80],
            &format!("{INTERNET_HOST}/24"),
        )
        .behind(Ipv4Addr::new(203, 0, 113, 2))
}

fn services(lab: &Lab) -> Result<Vec<Service>> {
    let at = |name| (lab.device(name), lab.inside(name));
    Ok(vec![
        Service::tcp(at("pump-gateway-01"), 443, simple::take_status)?,
        Service::tcp(at("hl7-engine-01"), 2575, hl7::acknowledge)?,
        Service::tcp(at("lis-01"), 2575, hl7::acknowledge)?,
        Service::tcp(at("pacs-01"), 11_112, dicom::answer_verification)?,
        Service::udp(at("dns-01"), 53, |socket| simple::answer_query(socket, [10, 20, 5, 10]))?,
        Service::tcp(at("internet"), 443, simple::take_status)?,
        // Doors that should stay shut: without the enforcer each of them opens.
        Service::tcp(at("pump-icu-01"), 80, simple::take_status)?,
        Service::tcp(at("pump-icu-01"), 3613, simple::take_status)?,
        Service::tcp(at("monitor-icu-01"), 22, simple::take_status)?,
        Service::tcp(at("lis-01"), 8080, simple::take_status)?,
    ])
}
