//! A built frame.

use std::ops::Deref;

/// The octets of a frame, and where its layers start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the destination address to the end of the payload, without the check sequence.
    pub bytes: Vec<u8>,
    /// Where the network header starts: behind the last EtherType.
    pub network: usize,
    /// Where the transport header starts: behind IP options and extension headers.
    pub transport: usize,
    /// Where the payload starts.
    pub payload: usize,
}

impl Frame {
    /// Cut off after so many octets.
    ///
    /// # Panics
    /// When the frame is not that long: the cut would do nothing.
    #[must_use]
    pub fn truncated(mut self, length: usize) -> Self {
        assert!(
            length <= self.bytes.len(),
            "the frame has only {} octets",
            self.bytes.len()
        );
        self.bytes.truncate(length);
        self
    }

    /// With these octets from `offset` on overwritten; checksums stay as they were.
    ///
    /// # Panics
    /// When they do not fit inside the frame.
    #[must_use]
    pub fn patched(&self, offset: usize, octets: &[u8]) -> Self {
        let mut frame = self.clone();
        frame.bytes[offset..offset + octets.len()].copy_from_slice(octets);
        frame
    }

    /// Filled up with zero octets to this length, as network cards do to 60.
    #[must_use]
    pub fn padded(mut self, length: usize) -> Self {
        let length = length.max(self.bytes.len());
        self.bytes.resize(length, 0);
        self
    }

    /// With these octets behind its end.
    #[must_use]
    pub fn followed_by(mut self, octets: &[u8]) -> Self {
        self.bytes.extend(octets);
        self
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
