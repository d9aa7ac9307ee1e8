//! The seed of the secret that buckets are found by: chosen at random with the table of buckets, and kept beside it.

use std::fs::File;
use std::io::Read as _;

use aya::maps::{Array, MapData};
use enforcer_common::abi::Meta;

use super::{Generation, typed};
use crate::kernel::error::Error;
use crate::kernel::shared::SharedMaps;

/// The seed of the maps that a generation is to share, or a new one.
pub(super) fn of(shared: &SharedMaps) -> Result<u64, Error> {
    if let SharedMaps::Pinned(directory) = shared {
        let path = directory.join("META");
        if path.exists() {
            let opening = |error| Error::aya(format!("opening {}", path.display()), &error);
            let map: Array<MapData, Meta> = typed(MapData::from_pin(&path).map_err(opening)?, "META")?;
            let kept = map.get(&0, 0).map_err(opening)?.bucket_seed;
            if kept != 0 {
                return Ok(kept);
            }
        }
    }
    random()
}

/// Writes the seed beside the buckets, before a frame makes the first one.
pub(super) fn keep(generation: &Generation, seed: u64) -> Result<(), Error> {
    let writing = |error| Error::aya("writing META", &error);
    let mut map: Array<MapData, Meta> = typed(generation.map("META")?, "META")?;
    let meta = map.get(&0, 0).map_err(writing)?;
    if meta.bucket_seed == seed {
        return Ok(());
    }
    let meta = Meta {
        bucket_seed: seed,
        ..meta
    };
    map.set(0, meta, 0).map_err(writing)
}

/// A random number other than 0, which means that there is none yet.
fn random() -> Result<u64, Error> {
    let mut octets = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut octets))
        .map_err(|error| Error::system("reading /dev/urandom", error))?;
    Ok(u64::from_ne_bytes(octets).max(1))
}
