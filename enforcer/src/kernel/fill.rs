//! Writing the tables of a generation, and reading them back.

use std::borrow::Borrow;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{Array, Map, MapData};
use aya::{Ebpf, Pod};

use super::error::Error;
use super::sys;

/// Octets that go to the kernel in one call.
const BATCH_BYTES: usize = 4 << 20;

/// Writes `values` to the array map `name` from entry 0 on, and reads them back.
pub(super) fn fill<V: Pod + PartialEq>(ebpf: &mut Ebpf, name: &'static str, values: &[V]) -> Result<(), Error> {
    let mut map = array::<V>(ebpf, name)?;
    if values.is_empty() {
        return Ok(());
    }
    write(&mut map, name, values)?;
    let back = read(&map, name, values.len())?;
    match values.iter().zip(&back).position(|(wrote, read)| wrote != read) {
        None => Ok(()),
        Some(entry) => Err(Error::ReadBack { table: name, entry }),
    }
}

/// The array map of this name in a loaded object.
fn array<'a, V: Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut MapData, V>, Error> {
    let map = ebpf
        .map_mut(name)
        .ok_or_else(|| Error::Object(format!("it has no map {name}")))?;
    Array::try_from(map).map_err(|error| Error::aya(format!("map {name}"), &error))
}

/// The array map of this name in a loaded object, whatever its entry is.
pub(super) fn array_of_one<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, Error> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map.fd().as_fd()),
        _ => Err(Error::Object(format!("it has no map {name}"))),
    }
}

/// Octets of an entry of the array map of this name.
pub(super) fn octets_of_first(ebpf: &Ebpf, name: &str) -> Result<usize, Error> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => map
            .info()
            .map(|info| info.value_size() as usize)
            .map_err(|error| Error::aya(format!("map {name}"), &error)),
        _ => Err(Error::Object(format!("it has no map {name}"))),
    }
}

/// Writes in batches; one by one where the kernel has none (before 5.6).
fn write<V: Pod>(map: &mut Array<&mut MapData, V>, name: &str, values: &[V]) -> Result<(), Error> {
    let chunk = (BATCH_BYTES / size_of::<V>()).max(1);
    for (number, part) in values.chunks(chunk).enumerate() {
        let first = number * chunk;
        if sys::update_batch(fd(map), first as u32, part).is_ok() {
            continue;
        }
        for (offset, value) in part.iter().enumerate() {
            map.set((first + offset) as u32, value, 0)
                .map_err(|error| Error::aya(format!("writing table {name}"), &error))?;
        }
    }
    Ok(())
}

/// The first `count` entries; one by one where the kernel has no batches.
pub(super) fn read<M: Borrow<MapData>, V: Pod>(map: &Array<M, V>, name: &str, count: usize) -> Result<Vec<V>, Error> {
    sys::read_batch(fd(map), count).or_else(|_| {
        (0..count as u32)
            .map(|entry| map.get(&entry, 0))
            .collect::<Result<_, _>>()
            .map_err(|error| Error::aya(format!("reading table {name}"), &error))
    })
}

fn fd<M: Borrow<MapData>, V: Pod>(map: &Array<M, V>) -> BorrowedFd<'_> {
    use aya::maps::IterableMap as _;
    map.map().fd().as_fd()
}
