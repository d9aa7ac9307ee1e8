//! The calls of `bpf(2)` that aya 0.14 does not offer, or not as they are needed here.
//!
//! - `link_create`: aya falls back to a netlink attachment on `EINVAL`, which cannot be pinned.
//! - `link_info`: aya's `LinkInfo` has no interface index, and a link whose device was deleted only shows there.
//! - `count_entries`, `count_buckets`, `update_batch`, `read_batch`: many entries in one call.
#![allow(
    clippy::cast_sign_loss,
    reason = "bpf(2) takes descriptors, which are never negative here, as unsigned words"
)]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::Pod;
use aya::programs::{ProgramInfo, loaded_programs};
use aya_obj::generated::{BPF_F_REPLACE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type};
use enforcer_common::abi::{BucketSet, Flow, FlowKey};

/// What the kernel says of an XDP link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Number of the link.
    pub id: u32,
    /// Number of the program that it runs.
    pub program: u32,
    /// The interface; 0 when that was deleted and the link enforces nothing any more.
    pub ifindex: u32,
}

/// `bpf(2)`; the result is not negative.
fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: `attributes` is a whole `bpf_attr`, zeroed but for what the command reads, and every pointer in it
    // comes from a reference or slice that the caller of this function keeps alive.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

fn attributes() -> bpf_attr {
    // SAFETY: `bpf_attr` is a union of plain integers; all zero is a value of each.
    unsafe { zeroed() }
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn path_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Attaches `program` to the interface. `flags` are `XDP_FLAGS_*`.
///
/// # Errors
/// `EBUSY` when the hook is occupied, `EOPNOTSUPP` when the driver knows no native XDP.
pub fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = attributes();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = bpf_attach_type::BPF_XDP as u32;
    attr.link_create.flags = flags;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(own)
}

/// Replaces `old` by `new` on `link`, in one step.
///
/// # Errors
/// `EPERM` when the link does not run `old`.
pub fn link_update(link: BorrowedFd<'_>, new: BorrowedFd<'_>, old: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = attributes();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = new.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_2.old_prog_fd = old.as_raw_fd() as u32;
    attr.link_update.flags = BPF_F_REPLACE;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// What the link is attached to, and what it runs.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // SAFETY: plain integers, as `bpf_attr`.
    let mut info: bpf_link_info = unsafe { zeroed() };
    let mut attr = attributes();
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    if info.type_ != bpf_link_type::BPF_LINK_TYPE_XDP as u32 {
        return Err(io::Error::other("it is not an XDP link"));
    }
    Ok(LinkInfo {
        id: info.id,
        program: info.prog_id,
        // SAFETY: the type says that the kernel filled this member.
        ifindex: unsafe { info.__bindgen_anon_1.xdp.ifindex },
    })
}

/// Opens what is pinned at `path`.
pub fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = path_string(path)?;
    let mut attr = attributes();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    bpf(bpf_cmd::BPF_OBJ_GET, &mut attr).map(own)
}

/// Pins an object at `path`, in a directory of a bpffs that exists.
pub fn object_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_string(path)?;
    let mut attr = attributes();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// A handle of the program with this number.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = attributes();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr).map(own)
}

/// What the kernel tells of the program with this number; `None` when it is gone, or for who may not ask.
pub fn program_info(id: u32) -> Option<ProgramInfo> {
    loaded_programs().flatten().find(|info| info.id() == id)
}

/// Writes `values` to entries `first..` of an array map.
pub fn update_batch<V: Pod>(map: BorrowedFd<'_>, first: u32, values: &[V]) -> io::Result<()> {
    let keys: Vec<u32> = (first..).take(values.len()).collect();
    let mut attr = attributes();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = values.len() as u32;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr)?;
    // SAFETY: `batch` is plain integers; the kernel writes back how many entries it took.
    let done = unsafe { attr.batch.count };
    if done as usize == values.len() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "only {done} of {} entries were written",
            values.len()
        )))
    }
}

/// Writes `values`, which are the whole of entry 0 of a map with keys of four octets.
pub fn update_first<V: Pod>(map: BorrowedFd<'_>, values: &[V]) -> io::Result<()> {
    let key = 0_u32;
    let mut attr = attributes();
    // SAFETY: plain integers of this command; key and values outlive the call.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = values.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(|_| ())
}

/// The `count` values that are the whole of entry 0.
pub fn read_first<V: Pod>(map: BorrowedFd<'_>, count: usize) -> io::Result<Vec<V>> {
    let key = 0_u32;
    let mut values: Vec<V> = Vec::with_capacity(count);
    let mut attr = attributes();
    // SAFETY: as above.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = values.as_mut_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    // SAFETY: the kernel has written the whole entry, and `V` is plain data.
    unsafe { values.set_len(count) };
    Ok(values)
}

/// Writes entry `key` of an array map whose entries have as many octets as `value`, or fewer.
pub fn update_entry(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    let mut attr = attributes();
    // SAFETY: as above.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = value.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(|_| ())
}

/// Entry `key` of an array map whose entries have so many octets, or fewer.
pub fn read_entry(map: BorrowedFd<'_>, key: u32, octets: usize) -> io::Result<Vec<u8>> {
    let mut value = vec![0; octets];
    let mut attr = attributes();
    // SAFETY: as above.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    Ok(value)
}

/// The entries of an array map from the start on, `count` of them.
pub fn read_batch<V: Pod>(map: BorrowedFd<'_>, count: usize) -> io::Result<Vec<V>> {
    let mut keys = vec![0_u32; count];
    let mut values: Vec<V> = Vec::with_capacity(count);
    let mut next = Cursor::default();
    let mut attr = attributes();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.out_batch = next.as_mut_ptr() as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = count as u32;
    bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr)?;
    // SAFETY: plain integers; the kernel writes back how many entries it filled.
    let done = unsafe { attr.batch.count } as usize;
    if done != count {
        return Err(io::Error::other(format!("only {done} of {count} entries were read")));
    }
    // SAFETY: the kernel has written `count` values, and `V` is plain data.
    unsafe { values.set_len(count) };
    Ok(values)
}

/// Position in a walk over a map.
type Cursor = [u8; 8];

/// Entries of a hash map that are read in one call.
const WALK: usize = 4096;

/// The number of entries of a hash map with keys `K` and values `V` (not per CPU), in calls of 4096 entries.
pub fn count_entries<K: Pod, V>(map: BorrowedFd<'_>) -> io::Result<u64> {
    let mut keys = vec![0_u8; WALK * size_of::<K>()];
    let mut values = vec![0_u64; WALK * size_of::<V>().div_ceil(8)];
    let mut total = 0;
    let (keys, values) = (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64);
    walk(map, keys, values, |count| {
        total += count as u64;
        ControlFlow::Continue(())
    })?;
    Ok(total)
}

/// Shows all entries of a flow table, in no particular order, until `visit` breaks off. Entries that come and go meanwhile
/// may be shown or not.
pub fn walk_flows(map: BorrowedFd<'_>, mut visit: impl FnMut(&FlowKey, &Flow) -> ControlFlow<()>) -> io::Result<()> {
    let mut keys = vec![FlowKey::EMPTY; WALK];
    let mut values = vec![Flow::default(); WALK];
    let (keys_at, values_at) = (keys.as_mut_ptr(), values.as_mut_ptr());
    walk(map, keys_at as u64, values_at as u64, |count| {
        for entry in 0..count.min(WALK) {
            // SAFETY: inside of the two vectors, which nothing else touches during the walk. The kernel has written whole
            // entries there; any bits are a key, and any bits are a flow, which is integers without padding.
            let (key, flow) = unsafe { (&*keys_at.add(entry), &*values_at.add(entry)) };
            visit(key, flow)?;
        }
        ControlFlow::Continue(())
    })
}

/// The number of buckets in their table, which is an array of sets.
pub fn count_buckets(map: BorrowedFd<'_>) -> io::Result<u64> {
    let mut numbers = vec![0_u32; WALK];
    let mut sets = vec![BucketSet::default(); WALK];
    let (numbers_at, sets_at) = (numbers.as_mut_ptr(), sets.as_mut_ptr());
    let mut total = 0;
    walk(map, numbers_at as u64, sets_at as u64, |count| {
        for number in 0..count.min(WALK) {
            // SAFETY: as in `walk_flows`; any bits are a set.
            total += unsafe { &*sets_at.add(number) }.used();
        }
        ControlFlow::Continue(())
    })?;
    Ok(total)
}

/// Walks over a map in calls of [`WALK`] entries, which the kernel writes to `keys` and `values`: addresses of room for
/// so many. `visit` is told how many there are each time.
fn walk(
    map: BorrowedFd<'_>,
    keys: u64,
    values: u64,
    mut visit: impl FnMut(usize) -> ControlFlow<()>,
) -> io::Result<()> {
    let (mut cursor, mut next) = (Cursor::default(), Cursor::default());
    let mut start = true;
    loop {
        let mut attr = attributes();
        attr.batch.map_fd = map.as_raw_fd() as u32;
        attr.batch.in_batch = if start { 0 } else { cursor.as_mut_ptr() as u64 };
        attr.batch.out_batch = next.as_mut_ptr() as u64;
        attr.batch.keys = keys;
        attr.batch.values = values;
        attr.batch.count = WALK as u32;
        let result = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        // SAFETY: plain integers.
        let count = unsafe { attr.batch.count } as usize;
        // The end of the map comes as ENOENT, together with the last entries.
        let ended = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        if visit(count).is_break() || ended {
            return Ok(());
        }
        cursor = next;
        start = false;
    }
}

/// A value from the bytes of a record; `None` when the size differs.
pub fn read_pod<V: Pod>(bytes: &[u8]) -> Option<V> {
    if bytes.len() != size_of::<V>() {
        return None;
    }
    // SAFETY: `bytes` has the size of `V`, any bits are a value of plain data, and the read needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<V>().read_unaligned() })
}
