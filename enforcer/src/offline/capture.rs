//! Captures: pcap and pcapng, frame by frame, in constant memory.

use std::io::Read;
use std::ops::ControlFlow;

use enforcer_common::frame::Frame;
use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, EnhancedPacketBlock, InterfaceDescriptionBlock, Linktype, PcapBlockOwned, PcapError};

/// Octets that are read at once. A block of a capture that is larger makes the buffer grow.
const BUFFER: usize = 1 << 20;
/// No block of a capture of frames is larger: its length is wrong.
const LARGEST: usize = 1 << 24;
/// Option of a frame in pcapng: whether the machine received or sent it, in the lowest two bits.
const FLAGS: u16 = 2;
const SENT: u8 = 2;

/// A frame of a capture.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// When it was seen, in nanoseconds of Unix time; 0 when the capture does not say.
    pub nanos: u64,
    /// What was kept of it.
    pub octets: &'a [u8],
    /// Its length on the wire, in octets; never less than what was kept.
    pub length: u32,
    /// The machine that captured sent it itself; only pcapng says so.
    pub sent: bool,
}

/// The parser believes a header that says the packet is longer than what was kept, if the frame was.
impl Frame for Captured<'_> {
    fn length(&self) -> u32 {
        self.octets.length()
    }

    fn whole_length(&self) -> u32 {
        self.length
    }

    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.octets.read(at)
    }
}

/// Why a capture could not be read to its end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CaptureError {
    /// The file begins otherwise.
    #[error("it is no capture: it begins like neither pcap nor pcapng")]
    NotACapture,
    /// The frames are not Ethernet.
    #[error(
        "its frames are not Ethernet (link type {0}); capture on the port itself, for example `tcpdump -i eth0`, not \
         on `any`"
    )]
    LinkType(i32),
    /// The file ends too early.
    #[error("the capture is cut: it ends in the middle of frame {}", .frames + 1)]
    Cut {
        /// Whole frames before.
        frames: u64,
    },
    /// The file makes no sense.
    #[error("the capture is damaged behind frame {frames}")]
    Damaged {
        /// Whole frames before.
        frames: u64,
    },
    /// The operating system does not read it.
    #[error("the operating system does not read it behind frame {frames}: a folder, or a damaged disk?")]
    Unreadable {
        /// Whole frames before.
        frames: u64,
    },
}

/// Shows every frame of a capture to `visit`, which may stop. On an error, `visit` has seen all the frames before it.
pub fn replay(
    file: impl Read + Send,
    mut visit: impl FnMut(&Captured<'_>) -> ControlFlow<()>,
) -> Result<(), CaptureError> {
    let mut reader = match pcap_parser::create_reader(BUFFER, file) {
        Ok(reader) => reader,
        Err(PcapError::ReadError) => return Err(CaptureError::Unreadable { frames: 0 }),
        Err(_) => return Err(CaptureError::NotACapture),
    };
    let mut section = Section::default();
    loop {
        match next(&mut *reader, &mut section, &mut visit)? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(()) => return Ok(()),
        }
    }
}

/// Reads one block, or more octets; breaks at the end.
fn next(
    reader: &mut dyn PcapReaderIterator,
    section: &mut Section,
    visit: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, CaptureError> {
    let frames = section.frames;
    let failure = match reader.next() {
        Ok((size, block)) => {
            let flow = section.block(&block, visit)?;
            reader.consume(size);
            return Ok(flow);
        }
        Err(PcapError::Eof) => return Ok(ControlFlow::Break(())),
        Err(PcapError::UnexpectedEof) => return Err(CaptureError::Cut { frames }),
        Err(PcapError::Incomplete(_)) => None,
        Err(PcapError::BufferTooSmall) => Some(CaptureError::Damaged { frames }),
        Err(PcapError::ReadError) => return Err(CaptureError::Unreadable { frames }),
        Err(_) => return Err(CaptureError::Damaged { frames }),
    };
    let held = reader.data().len();
    if failure.is_none() {
        reader.refill().map_err(|_| CaptureError::Unreadable { frames })?;
    }
    // The block does not fit, or the buffer is full of less than a block.
    if reader.data().len() == held && !reader.reader_exhausted() {
        let larger = (held.max(BUFFER) * 2).min(LARGEST);
        if larger <= held || !reader.grow(larger) {
            return Err(CaptureError::Damaged { frames });
        }
        reader.refill().map_err(|_| CaptureError::Unreadable { frames })?;
    }
    Ok(ControlFlow::Continue(()))
}

/// What the blocks before say about those that follow.
#[derive(Debug, Default)]
struct Section {
    interfaces: Vec<Clock>,
    frames: u64,
    last: u64,
}

/// How an interface tells the time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// As pcapng writes it: a negative power of 10, or with the highest bit of 2.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
    /// Octets that are kept of a frame; 0 for all.
    kept: u32,
}

const MICROSECONDS: u8 = 6;
const NANOSECONDS: u8 = 9;

impl Clock {
    /// `ticks` in nanoseconds of Unix time.
    fn nanos(self, ticks: u64) -> Option<u64> {
        let billions = u128::from(ticks) * 1_000_000_000;
        let nanos = if self.resolution & 0x80 == 0 {
            billions / 10_u128.checked_pow(self.resolution.into())?
        } else {
            billions >> (self.resolution & 0x7f)
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        u64::try_from(i128::try_from(nanos).ok()? + offset).ok()
    }
}

impl Section {
    fn block(
        &mut self,
        block: &PcapBlockOwned<'_>,
        visit: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CaptureError> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let resolution = if header.is_nanosecond_precision() {
                    NANOSECONDS
                } else {
                    MICROSECONDS
                };
                self.interface(header.network, resolution, 0, 0)?;
            }
            PcapBlockOwned::Legacy(frame) => {
                let clock = self.clock(0)?;
                let fraction = clock.nanos(frame.ts_usec.into()).unwrap_or(0);
                let nanos = u64::from(frame.ts_sec) * 1_000_000_000 + fraction;
                return Ok(self.frame(nanos, frame.data, frame.origlen, false, visit));
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let InterfaceDescriptionBlock { linktype, snaplen, .. } = *interface;
                self.interface(linktype, interface.if_tsresol, interface.if_tsoffset, snaplen)?;
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(frame)) => {
                let clock = self.clock(frame.if_id)?;
                let ticks = u64::from(frame.ts_high) << 32 | u64::from(frame.ts_low);
                let nanos = clock
                    .nanos(ticks)
                    .ok_or(CaptureError::Damaged { frames: self.frames })?;
                return Ok(self.frame(nanos, frame.packet_data(), frame.origlen, sent(frame), visit));
            }
            PcapBlockOwned::NG(Block::SimplePacket(frame)) => {
                // It has neither a time nor the number of octets that were kept.
                let kept = match self.clock(0)?.kept {
                    0 => frame.origlen,
                    limit => frame.origlen.min(limit),
                };
                let octets = frame.data.get(..kept as usize).unwrap_or(frame.data);
                return Ok(self.frame(self.last, octets, frame.origlen, false, visit));
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn interface(&mut self, link: Linktype, resolution: u8, offset: i64, kept: u32) -> Result<(), CaptureError> {
        if link != Linktype::ETHERNET {
            return Err(CaptureError::LinkType(link.0));
        }
        self.interfaces.push(Clock {
            resolution,
            offset,
            kept,
        });
        Ok(())
    }

    fn clock(&self, interface: u32) -> Result<Clock, CaptureError> {
        let clock = self.interfaces.get(interface as usize).copied();
        clock.ok_or(CaptureError::Damaged { frames: self.frames })
    }

    fn frame(
        &mut self,
        nanos: u64,
        octets: &[u8],
        length: u32,
        sent: bool,
        visit: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.frames += 1;
        self.last = nanos;
        visit(&Captured {
            number: self.frames,
            nanos,
            octets,
            length: length.max(octets.length()),
            sent,
        })
    }
}

/// Whether the machine that captured sent the frame.
fn sent(frame: &EnhancedPacketBlock<'_>) -> bool {
    let flags = frame.options.iter().find(|option| option.code.0 == FLAGS);
    let octets = flags.and_then(|option| option.value.first_chunk::<4>());
    octets.is_some_and(|octets| {
        let lowest = if frame.big_endian() { octets[3] } else { octets[0] };
        lowest & 3 == SENT
    })
}
