//! Tables that are the one entry of their map, so that the kernel program knows their addresses.
//!
//! Such a map is a section of the object, as large as the section says: the loader enlarges it before it hands the object
//! on. Elements are a power of two many, because the program puts a mask over each index.

use aya::{Ebpf, Pod};

use super::error::Error;
use super::fill;
use super::sys;

/// Octets of a section header, and where the size stands in it (ELF64).
const SECTION_HEADER: usize = 64;
const SIZE_AT: usize = 32;

/// The section, and so the map, of a table.
pub(super) fn section(table: &str) -> String {
    format!(".bss.{table}")
}

/// The object, with room for these tables: name, octets an element, elements.
pub(super) fn sized(object: &[u8], tables: &[(&str, usize, usize)]) -> Result<Vec<u8>, Error> {
    let mut sized = object.to_vec();
    for &(table, size, elements) in tables {
        let header = header_of(object, &section(table))
            .ok_or_else(|| Error::Object(format!("it has no section {}", section(table))))?;
        let octets = (size * elements) as u64;
        let field = sized.get_mut(header + SIZE_AT..header + SIZE_AT + 8);
        field
            .ok_or_else(|| Error::Object("its section headers are cut off".into()))?
            .copy_from_slice(&octets.to_le_bytes());
    }
    Ok(sized)
}

/// Where the header of a section stands.
fn header_of(object: &[u8], name: &str) -> Option<usize> {
    let (headers, count, strings) = (number(object, 40, 8)?, number(object, 60, 2)?, number(object, 62, 2)?);
    let header = |index: usize| headers + index * SECTION_HEADER;
    let names = number(object, header(strings) + 24, 8)?;
    (0..count).map(header).find(|&at| {
        let called = number(object, at, 4).and_then(|offset| object.get(names + offset..));
        called.is_some_and(|rest| rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0))
    })
}

/// A little-endian number of so many octets.
fn number(object: &[u8], at: usize, octets: usize) -> Option<usize> {
    let mut wide = [0; 8];
    wide[..octets].copy_from_slice(object.get(at..at + octets)?);
    usize::try_from(u64::from_le_bytes(wide)).ok()
}

/// Writes a table, and reads it back. What is behind its end repeats the last element.
pub(super) fn fill_direct<V: Pod + PartialEq>(ebpf: &mut Ebpf, name: &'static str, values: &[V]) -> Result<(), Error> {
    let Some(last) = values.last() else {
        return Ok(());
    };
    let map = fill::array_of_one(ebpf, &section(name))?;
    let mut whole = values.to_vec();
    whole.resize(values.len().next_power_of_two(), *last);
    let octets = fill::octets_of_first(ebpf, &section(name))?;
    if octets != size_of_val(whole.as_slice()) {
        return Err(Error::Object(format!("its table {name} has room for {octets} octets")));
    }
    sys::update_first(map, &whole).map_err(|error| Error::system(format!("writing table {name}"), error))?;
    let back =
        sys::read_first(map, whole.len()).map_err(|error| Error::system(format!("reading table {name}"), error))?;
    match whole.iter().zip(&back).position(|(wrote, read)| wrote != read) {
        None => Ok(()),
        Some(entry) => Err(Error::ReadBack { table: name, entry }),
    }
}
