//! Parts of the language that `enforcer.toml` has too.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;

use super::fields::Complaint;
use super::valid::{OnNoPolicy, ServiceMatch, VlanId};
use super::{grammar, services};
use crate::diagnostics::{Diagnostic, Location};

/// A reader of one word: its value, or the finding at the place where it stands.
pub(crate) type Part<T> = fn(&str, Location) -> Result<T, Diagnostic>;

fn placed<T>(result: Result<T, Complaint>, at: Location) -> Result<T, Diagnostic> {
    result.map_err(|complaint| complaint.at(at))
}

/// `110`, or `2000.110` for two tags.
pub(crate) fn vlan(text: &str, at: Location) -> Result<VlanId, Diagnostic> {
    placed(grammar::vlan(text), at)
}

/// `10.10.110.1`: an address that one station can have.
pub(crate) fn host_address(text: &str, at: Location) -> Result<IpAddr, Diagnostic> {
    placed(grammar::host_address(text), at)
}

/// `10.10.110.0/24`, without bits behind the prefix.
pub(crate) fn prefix(text: &str, at: Location) -> Result<IpNetwork, Diagnostic> {
    placed(grammar::prefix(text), at)
}

/// `tcp/22`, `icmp/echo`.
pub(crate) fn service(text: &str, at: Location) -> Result<ServiceMatch, Diagnostic> {
    placed(services::expression(text), at)
}

/// `2027-01-31T00:00:00Z`, from a command line.
pub(crate) fn time(text: &str) -> Result<SystemTime, String> {
    let nanos = grammar::time(text).map_err(|complaint| complaint.in_one_line())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// `pass` or `drop`.
pub(crate) fn on_no_policy(text: &str, at: Location) -> Result<OnNoPolicy, Diagnostic> {
    placed(grammar::on_no_policy(text), at)
}
