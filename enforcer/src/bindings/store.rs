//! Bindings on disk, so that a reboot of the gateway does not forget them: the lease of a pump lasts for days, and until it
//! is renewed no message would tell its address again.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::book::{Book, Held};
use crate::files::read_small;
use crate::private;

/// The version of the file.
const VERSION: u32 = 1;

/// No file that this program writes is as large, in MiB: 65,536 devices of a few hundred octets.
const MEBIBYTES: u64 = 64;

#[derive(Serialize, Deserialize)]
struct File {
    schema_version: u32,
    bindings: Vec<Entry>,
}

/// A binding, with the end of its lease by the wall clock: no other clock goes on through a reboot.
#[derive(Serialize, Deserialize)]
struct Entry {
    device: String,
    realm: String,
    address: Ipv4Addr,
    /// Unix seconds; none for never.
    expires: Option<u64>,
}

/// The clocks at one moment: of the kernel program in nanoseconds, of the wall in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The tick clock.
    pub ticks: u64,
    /// The wall clock.
    pub unix: u64,
}

/// Nanoseconds a second.
const SECOND: u64 = 1_000_000_000;

impl Moment {
    /// Unix seconds of a time on the tick clock; `None` for never.
    pub fn unix_seconds(self, ticks: u64) -> Option<u64> {
        let ahead = i128::from(ticks) - i128::from(self.ticks);
        let unix = (i128::from(self.unix) + ahead).max(0) / i128::from(SECOND);
        (ticks != u64::MAX).then(|| u64::try_from(unix).unwrap_or(u64::MAX))
    }

    /// The time on the tick clock; what is past becomes 0.
    fn ticks(self, unix_seconds: Option<u64>) -> u64 {
        let Some(seconds) = unix_seconds else {
            return u64::MAX;
        };
        let ahead = i128::from(seconds) * i128::from(SECOND) - i128::from(self.unix);
        let ticks = (i128::from(self.ticks) + ahead).max(0);
        // What is too far away to be counted is for ever.
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// Writes the file whole: aside, to the disk, then renamed.
pub fn save(path: &Path, book: &Book, now: Moment) -> io::Result<()> {
    let bindings = book.iter().map(|(device, held)| Entry {
        device: device.to_owned(),
        realm: held.realm.clone(),
        address: held.address,
        expires: now.unix_seconds(held.expires),
    });
    let file = File {
        schema_version: VERSION,
        bindings: bindings.collect(),
    };
    private::replace(path, &serde_json::to_vec_pretty(&file)?)
}

/// What the file holds and is not over yet; nothing without a file.
///
/// # Errors
/// What is wrong with the file.
pub fn load(path: &Path, now: Moment) -> Result<Vec<(String, Held)>, String> {
    let octets = match read_small(path, MEBIBYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        octets => octets.map_err(|error| error.to_string())?,
    };
    let file: File = serde_json::from_slice(&octets).map_err(|error| format!("it is damaged: {error}"))?;
    if file.schema_version != VERSION {
        return Err(format!("it has version {}, not {VERSION}", file.schema_version));
    }
    let held = file.bindings.into_iter().map(|entry| {
        let held = Held {
            realm: entry.realm,
            address: entry.address,
            expires: now.ticks(entry.expires),
        };
        (entry.device, held)
    });
    Ok(held.filter(|(_, held)| now.ticks < held.expires).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: Moment = Moment {
        ticks: 5_000 * SECOND,
        unix: 1_700_000_000 * SECOND,
    };

    fn held(last: u8, expires: u64) -> Held {
        Held {
            realm: "default".into(),
            address: [10, 0, 0, last].into(),
            expires,
        }
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("bindings.json");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(load(&path, NOW).unwrap_err(), "not a regular file");
        let error = crate::learn::Store::load(&path, 8).unwrap_err();
        assert_eq!(error.to_string(), "not a regular file");
    }

    #[test]
    fn leases_keep_their_end_by_the_wall_clock_through_a_reboot() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("bindings.json");
        let mut book = Book::default();
        book.put("a", held(1, NOW.ticks + 600 * SECOND));
        book.put("b", held(2, u64::MAX));
        book.put("c", held(3, NOW.ticks + 60 * SECOND));
        save(&path, &book, NOW).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "it says who has which address");
        // Two minutes later, on a tick clock that began anew.
        let later = Moment {
            ticks: 7 * SECOND,
            unix: NOW.unix + 120 * SECOND,
        };
        let expected = [
            ("a".to_owned(), held(1, 487 * SECOND)),
            ("b".to_owned(), held(2, u64::MAX)),
        ];
        assert_eq!(load(&path, later).unwrap(), expected);
        // The file is replaced, not added to.
        save(&path, &Book::default(), NOW).unwrap();
        assert_eq!(load(&path, NOW).unwrap(), []);
    }

    #[test]
    fn no_file_is_no_binding_and_a_damaged_one_says_so() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("bindings.json");
        assert_eq!(load(&path, NOW), Ok(Vec::new()));
        for (text, expected) in [
            ("", "damaged"),
            ("{\"schema_version\":1,\"bindings\":[{\"device\":", "damaged"),
            ("{\"schema_version\":2,\"bindings\":[]}", "version 2"),
        ] {
            fs::write(&path, text).unwrap();
            let error = load(&path, NOW).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn times_at_the_edges_of_both_clocks_stay_in_their_range() {
        assert_eq!(NOW.ticks(Some(0)), 0);
        assert_eq!(NOW.ticks(Some(u64::MAX)), u64::MAX);
        assert_eq!(NOW.unix_seconds(u64::MAX), None);
        assert_eq!(NOW.unix_seconds(NOW.ticks), Some(1_700_000_000));
        assert_eq!(
            Moment {
                ticks: u64::MAX - 1,
                unix: 0
            }
            .unix_seconds(0),
            Some(0)
        );
    }
}
