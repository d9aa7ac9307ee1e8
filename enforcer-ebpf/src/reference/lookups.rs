//! One look-up each in the kernel's own maps, by addresses and ports of an IPv4 frame with one VLAN tag.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{HashMap, LruHashMap};
use aya_ebpf::programs::XdpContext;

/// Where the addresses and ports stand: Ethernet 14, tag 4, IPv4 header 12.
const SOURCE: usize = 30;
const DESTINATION: usize = 34;

/// Addresses and ports as in the frame, then the protocol: what a firewall without VLANs keys its flows by.
type Tuple = [u32; 4];

/// The protocol of the measured frames: UDP.
const UDP: u32 = 17;

/// Room for 100,000 entries each, which the benchmark enters.
const ROOM: u32 = 1 << 17;

/// Keys in network order.
#[map]
static PREFIXES: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(ROOM, 0);
#[map]
static TUPLES: HashMap<Tuple, u64> = HashMap::with_max_entries(ROOM, 0);
#[map]
static RECENT: LruHashMap<Tuple, u64> = LruHashMap::with_max_entries(ROOM, 0);

#[inline(always)]
fn read<const N: usize>(context: &XdpContext, at: usize) -> Option<[u8; N]> {
    let from = (context.data() as *const u8).wrapping_add(at);
    if from.wrapping_add(N) > context.data_end() as *const u8 {
        return None;
    }
    // SAFETY: `N` octets from there lie inside the frame, checked above.
    Some(unsafe { from.cast::<[u8; N]>().read_unaligned() })
}

#[expect(clippy::many_single_char_names, reason = "octets in their order")]
#[inline(always)]
fn tuple(context: &XdpContext) -> Option<Tuple> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = read::<12>(context, SOURCE)?;
    let word = u32::from_ne_bytes;
    Some([word([a, b, c, d]), word([e, f, g, h]), word([i, j, k, l]), UDP])
}

#[inline(always)]
fn answer(found: Option<bool>) -> u32 {
    match found {
        Some(true) => XDP_DROP,
        Some(false) => XDP_PASS,
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn is_known(context: &XdpContext, at: usize) -> Option<bool> {
    let address = read::<4>(context, at)?;
    Some(PREFIXES.get(Key::new(32, address)).is_some())
}

/// The destination address in the kernel's longest-prefix-match trie.
#[xdp]
pub fn lpm(context: XdpContext) -> u32 {
    answer(is_known(&context, DESTINATION))
}

/// The source and the destination address in that trie, as a firewall of prefixes does.
#[xdp]
pub fn lpm_twice(context: XdpContext) -> u32 {
    let both = is_known(&context, SOURCE)
        .and_then(|source| is_known(&context, DESTINATION).map(|destination| source && destination));
    answer(both)
}

/// Addresses, ports and protocol in a hash.
#[xdp]
pub fn hash(context: XdpContext) -> u32 {
    // SAFETY: nobody writes the entries while the programs run.
    answer(tuple(&context).map(|tuple| unsafe { TUPLES.get(tuple) }.is_some()))
}

/// The same in an LRU hash.
#[xdp]
pub fn lru(context: XdpContext) -> u32 {
    // SAFETY: as in `hash`.
    answer(tuple(&context).map(|tuple| unsafe { RECENT.get(tuple) }.is_some()))
}
