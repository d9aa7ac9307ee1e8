// How a stream of frames is described to the programs that make one: written by `enforcer-bench`, read by `traffic.rs`. Both
// include this file.

/// Places of a frame that change from frame to frame: 16 bits each, in network order.
pub const PATCHES: usize = 4;

/// Words of a patch: offset in the frame (below 64), base, shift, mask. The place holds `base + (number >> shift & mask)`,
/// where `number` runs through 2^32 values in a scattered order; any power of two of consecutive frames has all its low bits.
pub const PATCH_WORDS: usize = 4;

/// Words of a stream: the patches, then the number of templates as a mask (that number minus 1), and as a shift.
pub type Stream = [u32; PATCHES * PATCH_WORDS + 2];

/// The first 64 octets of a frame.
pub type Template = [u64; 8];

/// Templates of a stream at most.
pub const TEMPLATES: u32 = 8;

/// What the end of the way sees, on each CPU: frames, those that should not have come, when the last one came, and the longest
/// time between two (nanoseconds).
pub type Seen = [u64; 4];

/// What must not come: the 16 bits at this offset (below 64), and their value.
pub type Unwanted = [u32; 2];
