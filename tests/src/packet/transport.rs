//! The part of a frame behind its network header.

use super::{Builder, Frame, Network, Transport, bytes};

/// Transport and payload.
impl Builder {
    /// The payload follows the IP header under this protocol number.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.transport = Transport::Raw(protocol);
        self
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(mut self, source: u16, destination: u16, flags: u8) -> Self {
        let ports = [source, destination];
        self.transport = Transport::Tcp {
            ports,
            flags,
            sequence: 1,
            acknowledgement: 0,
            options: Vec::new(),
        };
        self
    }

    /// Sequence and acknowledgement numbers of a TCP segment.
    ///
    /// # Panics
    /// Without [`Builder::tcp`] before.
    #[must_use]
    pub fn numbers(mut self, next_sequence: u32, next_acknowledgement: u32) -> Self {
        let Transport::Tcp {
            sequence,
            acknowledgement,
            ..
        } = &mut self.transport
        else {
            panic!("numbers() wants tcp() before it")
        };
        (*sequence, *acknowledgement) = (next_sequence, next_acknowledgement);
        self
    }

    /// TCP options, padded to whole words.
    ///
    /// # Panics
    /// Without [`Builder::tcp`] before.
    #[must_use]
    pub fn tcp_options(mut self, text: &[u8]) -> Self {
        let Transport::Tcp { options, .. } = &mut self.transport else {
            panic!("tcp_options() wants tcp() before it")
        };
        *options = bytes::padded(text, 4);
        self
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        self.transport = Transport::Udp {
            ports: [source, destination],
            length: None,
        };
        self
    }

    /// A UDP length that differs from what the frame carries, as in a first fragment.
    ///
    /// # Panics
    /// Without [`Builder::udp`] before.
    #[must_use]
    pub fn udp_length(mut self, octets: u16) -> Self {
        let Transport::Udp { length, .. } = &mut self.transport else {
            panic!("udp_length() wants udp() before it")
        };
        *length = Some(octets);
        self
    }

    /// An ICMP or ICMPv6 message, by the family of the addresses; the second word of its header is 0.
    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8) -> Self {
        self.transport = Transport::Icmp {
            kind,
            code,
            rest: [0; 4],
        };
        self
    }

    /// The identifier of an ICMP message: the first half of the second word of its header.
    ///
    /// # Panics
    /// Without [`Builder::icmp`] before.
    #[must_use]
    pub fn identifier(mut self, id: u16) -> Self {
        let Transport::Icmp { rest, .. } = &mut self.transport else {
            panic!("identifier() wants icmp() before it")
        };
        rest[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// An ICMP echo request.
    #[must_use]
    pub fn echo(self, id: u16, sequence: u16) -> Self {
        let kind = if matches!(self.network, Network::V6(..)) {
            128
        } else {
            8
        };
        self.echo_as(kind, id, sequence)
    }

    /// An ICMP echo reply.
    #[must_use]
    pub fn echo_reply(self, id: u16, sequence: u16) -> Self {
        let kind = if matches!(self.network, Network::V6(..)) {
            129
        } else {
            0
        };
        self.echo_as(kind, id, sequence)
    }

    fn echo_as(mut self, kind: u8, id: u16, sequence: u16) -> Self {
        let mut rest = [0; 4];
        rest[..2].copy_from_slice(&id.to_be_bytes());
        rest[2..].copy_from_slice(&sequence.to_be_bytes());
        self.transport = Transport::Icmp { kind, code: 0, rest };
        self
    }

    /// What follows the last header.
    #[must_use]
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// The frame, with lengths and checksums filled in; not padded to 60 octets (see [`Frame::padded`]).
    pub fn build(&self) -> Frame {
        bytes::assemble(self)
    }
}
