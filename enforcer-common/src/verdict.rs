//! What becomes of a frame, and why.

/// What becomes of a frame. Every value is final: no later stage overrules it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[must_use]
pub enum Verdict {
    /// To the gateway's own stack.
    Pass = 0,
    /// Out of the paired port, unchanged (inline mode).
    Redirect = 1,
    /// Gone.
    Drop = 2,
    /// Would be [`Verdict::Drop`], but the zones or the port are in monitor mode: it goes on, and is counted here.
    WouldDrop = 3,
}

impl Verdict {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Redirect, Self::Drop, Self::WouldDrop];

    /// The metric label, also what events and the command line print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Redirect => "redirect",
            Self::Drop => "drop",
            Self::WouldDrop => "would-drop",
        }
    }

    /// The verdict with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }
}

/// The stage that settled the verdict, in the order in which a frame meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// The bytes of the frame.
    Parse = 0,
    /// Port, VLAN, link-local control frames, ARP and neighbour discovery.
    Link = 1,
    /// Management access to the gateway.
    Failsafe = 2,
    /// The source address belongs to this VLAN and MAC.
    Source = 3,
    /// A flow that was permitted before.
    Flow = 4,
    /// The rules.
    Policy = 5,
    /// The limits.
    Budget = 6,
}

impl Stage {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Parse,
        Self::Link,
        Self::Failsafe,
        Self::Source,
        Self::Flow,
        Self::Policy,
        Self::Budget,
    ];

    /// What events and the command line print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Link => "link",
            Self::Failsafe => "failsafe",
            Self::Source => "source",
            Self::Flow => "flow",
            Self::Policy => "policy",
            Self::Budget => "budget",
        }
    }

    /// The stage with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }
}

/// Declares [`DropReason`] from the one list that feeds code, metric labels, the command line and the documentation.
macro_rules! drop_reasons {
    ($($variant:ident = $code:literal, $name:literal, $text:literal;)+) => {
        /// Why a frame is refused. [`DropReason::None`] on frames that pass.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant = $code,)+
        }

        impl DropReason {
            /// All of them, in order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The metric label, also what events and the command line print.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// One sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

drop_reasons! {
    None = 0, "none", "Not refused.";
    TruncatedEthernet = 1, "truncated-ethernet", "The frame ends inside the Ethernet header.";
    TruncatedVlan = 2, "truncated-vlan", "The frame ends inside a VLAN tag.";
    TooManyTags = 3, "too-many-tags", "More than two VLAN tags.";
    TruncatedArp = 4, "truncated-arp", "The frame ends inside the ARP message.";
    MalformedArp = 5, "malformed-arp", "An ARP message that is not IPv4 over Ethernet, or neither request nor reply.";
    TruncatedIpv4 = 6, "truncated-ipv4", "The frame ends inside the IPv4 packet.";
    MalformedIpv4 = 7, "malformed-ipv4", "IPv4 version, header length, total length and options contradict each other, or a fragment that no packet has room for.";
    TruncatedIpv6 = 8, "truncated-ipv6", "The frame ends inside the IPv6 packet.";
    MalformedIpv6 = 9, "malformed-ipv6", "The IPv6 version or the length of an extension header contradicts the packet, or a fragment that no packet has room for.";
    TooManyExtensions = 10, "too-many-extensions", "More IPv6 extension headers than the parser follows.";
    TruncatedTransport = 11, "truncated-transport", "The packet ends inside the TCP, UDP or ICMP header.";
    MalformedTransport = 12, "malformed-transport", "A TCP or UDP header whose length field contradicts the packet.";
    FragmentOrphan = 13, "fragment-orphan", "A later fragment whose first fragment was not permitted, or has not come yet.";
    EtherType = 14, "ethertype", "Neither IPv4, IPv6, ARP nor a permitted link-local control protocol.";
    UnknownPort = 15, "unknown-port", "The interface is not one of the configured ports.";
    VlanNotAllowed = 16, "vlan-not-allowed", "The VLAN is not allowed on this port.";
    VlanUndeclared = 17, "vlan-undeclared", "No zone declares this VLAN.";
    ControlProtocol = 18, "control-protocol", "A link-local control protocol that the port's list leaves out.";
    InvalidSource = 19, "invalid-source", "A source address that no host may use: multicast, broadcast or loopback; or one of the link, to elsewhere.";
    SourceNotInVlan = 20, "source-not-in-vlan", "The source address does not belong to the VLAN that it came from.";
    SourceMacMismatch = 21, "source-mac-mismatch", "The source address belongs to a device with another MAC address.";
    DefaultDeny = 22, "default-deny", "No rule permits this pair and service.";
    DeniedByRule = 23, "denied-by-rule", "A rule denies this pair and service.";
    TcpFlags = 24, "tcp-flags", "A TCP segment whose flags contradict each other: neither SYN, ACK nor RST, or SYN with FIN or RST.";
    TableMiss = 25, "table-miss", "A policy table has no entry where it must have one: a defect, please report it.";
    TinyFragment = 26, "tiny-fragment", "A first fragment too short for its transport header, which would hide the ports.";
    OverlappingFragment = 27, "overlapping-fragment", "A later fragment that reaches into the first one.";
    ArpSpoof = 28, "arp-spoof", "An ARP sender whose addresses do not belong together, or not to this VLAN.";
    NeighbourSpoof = 29, "neighbour-spoof", "A neighbour discovery message that speaks for an address that is not the sender's.";
    RouterAdvertisement = 30, "router-advertisement", "A router advertisement or redirect from a device that is no declared router.";
    DhcpServer = 31, "dhcp-server", "A DHCP server message from a device that is no declared server.";
    RuleLimit = 32, "rule-limit", "The rule permits it, but its limit is used up.";
    FromLimit = 33, "from-limit", "The source address has used up what it may send.";
    TowardLimit = 34, "toward-limit", "The destination address has received what it may be sent.";
    GroupLimit = 35, "group-limit", "The VLAN has had its broadcasts and multicasts.";
    NoSession = 36, "no-session", "The middle of a TCP session that is not known, in a zone that wants to see sessions begin.";
    SmallMss = 37, "small-mss", "A TCP SYN that announces a smaller MSS than the destination allows, or options that hide it.";
    SourceRoute = 38, "source-route", "A packet that names stations to be passed on by, behind the one that it is sent to.";
}

impl DropReason {
    /// The reason with this code.
    #[inline(always)]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_index_the_list() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        assert!(DropReason::ALL.len() <= crate::abi::REASONS);
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
        for (index, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, index);
        }
    }
}
