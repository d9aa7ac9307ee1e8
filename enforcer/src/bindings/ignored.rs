//! Why a message of a DHCP server teaches nothing.

/// Why a DHCP message did not change what is known. The label of `enforcer_dhcp_messages_ignored_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Cut off, or no DHCP.
    #[error("it is no DHCP message")]
    Malformed,
    /// An offer, a refusal or the like.
    #[error("it is no acknowledgement")]
    NoAck,
    /// For a client whose hardware address is none of Ethernet.
    #[error("the client has no Ethernet address")]
    NoEthernet,
    /// An answer to a client that has its address by other means (DHCPINFORM).
    #[error("it grants no address")]
    NoAddress,
    /// No lease time, or none at all.
    #[error("it names no lease time")]
    NoLeaseTime,
    /// The lease ended before the message was read.
    #[error("the lease is over already")]
    LeaseOver,
    /// For a client that is none of the devices with `dhcp: true`.
    #[error("no device with `dhcp: true` has this hardware address")]
    UnknownDevice,
    /// Several devices of different realms have the hardware address, and nothing says which of them is meant.
    #[error("several devices have this hardware address, each in its realm")]
    AmbiguousDevice,
    /// The address does not belong to the device's zone.
    #[error("the address is not one of the device's zone")]
    OutsideZone,
    /// The policy gives the address to another device, or to the gateway.
    #[error("the policy declares the address for another device or for the gateway")]
    DeclaredAddress,
    /// `bindings` of the kernel has no room.
    #[error(
        "the table of bindings is full: raise `bindings` under [tables] in enforcer.toml, then `enforcer detach` and start"
    )]
    TableFull,
    /// The kernel refused the entry for another reason.
    #[error("the kernel's table of bindings cannot be written")]
    TableError,
}

impl Ignored {
    /// All, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::NoAck,
        Self::NoEthernet,
        Self::NoAddress,
        Self::NoLeaseTime,
        Self::LeaseOver,
        Self::UnknownDevice,
        Self::AmbiguousDevice,
        Self::OutsideZone,
        Self::DeclaredAddress,
        Self::TableFull,
        Self::TableError,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoAck => "no-ack",
            Self::NoEthernet => "no-ethernet",
            Self::NoAddress => "no-address",
            Self::NoLeaseTime => "no-lease-time",
            Self::LeaseOver => "lease-over",
            Self::UnknownDevice => "unknown-device",
            Self::AmbiguousDevice => "ambiguous-device",
            Self::OutsideZone => "outside-zone",
            Self::DeclaredAddress => "declared-address",
            Self::TableFull => "table-full",
            Self::TableError => "table-error",
        }
    }

    /// Whether an operator should look: a declared server gave a declared device something that the policy does not
    /// expect, or the kernel takes no more.
    pub(super) fn is_finding(self) -> bool {
        matches!(
            self,
            Self::OutsideZone | Self::DeclaredAddress | Self::AmbiguousDevice | Self::TableFull | Self::TableError
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_list() {
        for (code, reason) in Ignored::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, code, "{}", reason.name());
        }
    }
}
