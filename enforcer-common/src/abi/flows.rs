//! Flows and fragments, which outlive generations.

use super::Address;
use crate::shared::Shared;

/// The two ends of a flow, the lower one first, so that both directions share one entry.
///
/// Ends are compared by address, then by port. ICMP echo puts its identifier in the port of the end that asks, and its
/// complement in the other one; protocols without ports have 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address of the lower end.
    pub low: Address,
    /// Address of the higher end.
    pub high: Address,
    /// Link-local addresses mean something on their VLAN only: `outer << 16 | inner` when one of the ends has such
    /// an address, else 0.
    pub link: u32,
    /// Port of the lower end.
    pub low_port: u16,
    /// Port of the higher end.
    pub high_port: u16,
    /// Address space.
    pub realm: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

impl FlowKey {
    /// All zero: the key of no flow.
    pub const EMPTY: Self = Self {
        low: [0; 4],
        high: [0; 4],
        link: 0,
        low_port: 0,
        high_port: 0,
        realm: 0,
        protocol: 0,
        family: 0,
    };
}

/// A permitted flow, both directions.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Frames from the initiator, and to it.
    pub packets: [Shared<u64>; 2],
    /// Octets of the frames from the initiator, and to it.
    pub bytes: [Shared<u64>; 2],
    /// When the first frame came, in nanoseconds of the tick clock.
    pub created: u64,
    /// When the last frame came.
    pub seen: Shared<u64>,
    /// The rule that permitted it, in the numbering of `generation`.
    pub rule: Shared<u32>,
    /// The generation that decided it last.
    pub generation: Shared<u32>,
    /// A [`FlowState`].
    pub state: Shared<u8>,
    /// 1 when the initiator is the lower end.
    pub initiator_low: u8,
    /// In monitor mode, the [`DropReason`](crate::verdict::DropReason) that enforce mode would give; 0 when permitted.
    pub refusal: Shared<u8>,
    /// The [`FlowState`] that it was entered in: [`PickedUp`](FlowState::PickedUp) when its first frame was not its opener, so that who
    /// opened it is only supposed.
    pub entered_as: u8,
    /// In which window it was counted among the concurrent flows of its buckets: see [`budget`](crate::budget).
    pub counted: Shared<u32>,
}

/// Where a flow is in its life. The codes index [`Settings::idle_seconds`](super::Settings::idle_seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowState {
    /// UDP, ICMP echo or another protocol without an answer yet.
    Unanswered = 0,
    /// The same, with an answer.
    Answered = 1,
    /// TCP: SYN of the initiator.
    SynSent = 2,
    /// TCP: SYN and ACK of the responder.
    SynReceived = 3,
    /// TCP: data flows.
    Established = 4,
    /// TCP: one or both ends sent FIN.
    Closing = 5,
    /// TCP: reset.
    Reset = 6,
    /// TCP: picked up in the middle, without an answer yet.
    PickedUp = 7,
}

impl FlowState {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Unanswered,
        Self::Answered,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::Closing,
        Self::Reset,
        Self::PickedUp,
    ];

    /// Idle seconds after which a flow in this state is forgotten, unless configured otherwise.
    ///
    /// TCP: an HL7 interface may be silent over a long weekend, so established flows keep five days, as Linux
    /// conntrack does (RFC 5382 asks for two hours and four minutes at least). UDP: RFC 4787 asks for two minutes at least.
    pub const fn default_idle_seconds(self) -> u32 {
        match self {
            Self::Unanswered | Self::SynSent => 30,
            Self::SynReceived | Self::PickedUp => 60,
            Self::Answered => 180,
            Self::Established => 5 * 24 * 3600,
            Self::Closing => 120,
            Self::Reset => 10,
        }
    }

    /// What the command line prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Reset => "reset",
            Self::PickedUp => "picked-up",
        }
    }
}

/// What the fragments of one packet have in common (RFC 791, RFC 8200).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification field.
    pub id: u32,
    /// As in [`FlowKey::link`].
    pub link: u32,
    /// Address space.
    pub realm: u16,
    /// IP protocol number of IPv4; 0 in IPv6, where only the first fragment's next header counts (RFC 8200, section 4.5).
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

impl FragmentKey {
    /// All zero: the key of no packet.
    pub const EMPTY: Self = Self {
        source: [0; 4],
        destination: [0; 4],
        id: 0,
        link: 0,
        realm: 0,
        protocol: 0,
        family: 0,
    };
}

/// What a first fragment settled for those that follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentRecord {
    /// When it came, in nanoseconds of the tick clock.
    pub seen: u64,
    /// The rule that decided, in the numbering of `generation`.
    pub rule: u32,
    /// The generation that decided.
    pub generation: u32,
    /// Octets of payload in the first fragment: no later one may reach into them.
    pub length: u16,
    /// Source port, as in [`Event::source_port`](super::Event::source_port).
    pub source_port: u16,
    /// Destination port, as in [`Event::destination_port`](super::Event::destination_port).
    pub destination_port: u16,
    /// In monitor mode, the [`DropReason`](crate::verdict::DropReason) of enforce mode; 0 when permitted.
    pub refusal: u8,
    /// 1 when the packet answers in a flow that the other end opened.
    pub answers: u8,
    /// IP protocol number of the first fragment.
    pub protocol: u32,
    /// Padding.
    pub reserved: u32,
}

/// Seconds that a first fragment is remembered: Linux gives up reassembly after 30.
pub const FRAGMENT_SECONDS: u64 = 30;
