//! Tables that are the one entry of their map, so that the kernel program knows their addresses.
//!
//! Such a map is a section of the object, as large as the section says: the loader enlarges it before it hands the object
//! on. Elements are a power of two many, because the program puts a mask over each index: a constant in its instructions,
//! which the loader writes there.

use aya::{Ebpf, Pod};
use enforcer_common::abi::MASK_PLACEHOLDER;

use super::error::Error;
use super::fill;
use super::sys;

/// The tables, in the order of their codes ([`DirectTable`](enforcer_common::abi::DirectTable)).
pub const DIRECT_TABLES: [&str; 16] = [
    "PORTS",
    "VLANS",
    "LANS",
    "TRIE",
    "HOSTS",
    "ENDPOINTS",
    "ROWS",
    "PROFILES",
    "PROTOCOLS",
    "SERVICES",
    "COLUMNS",
    "CELLS",
    "RULES",
    "ZONES",
    "BUDGETS",
    "ACCESSES",
];
/// Octets of a section header, and where in it stand flags, offset and size (ELF64).
const SECTION_HEADER: usize = 64;
const FLAGS_AT: usize = 8;
const OFFSET_AT: usize = 24;
const SIZE_AT: usize = 32;
/// `SHF_EXECINSTR`: the section holds instructions.
const INSTRUCTIONS: usize = 4;
/// The operation code of `w &= constant`.
const AND: u8 = 0x54;

/// The section, and so the map, of a table.
pub(super) fn section(table: &str) -> String {
    format!(".bss.{table}")
}

/// The object, with room for these tables (name, octets an element, elements, a power of two), and with their masks in
/// the instructions that keep indices inside. They are in the order of their codes.
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
    let unmasked = mask(&mut sized, tables).ok_or_else(|| Error::Object("its sections are cut off".into()))?;
    match unmasked.first() {
        None => Ok(sized),
        Some(table) => Err(Error::Object(format!(
            "no instruction of it masks an index into {table}"
        ))),
    }
}

/// Writes the masks; names the tables that no instruction masks an index for.
fn mask<'t>(object: &mut [u8], tables: &[(&'t str, usize, usize)]) -> Option<Vec<&'t str>> {
    let mut missing: Vec<_> = tables.iter().map(|&(table, ..)| Some(table)).collect();
    for header in headers(object)? {
        if number(object, header + FLAGS_AT, 8)? & INSTRUCTIONS == 0 {
            continue;
        }
        let (start, length) = (
            number(object, header + OFFSET_AT, 8)?,
            number(object, header + SIZE_AT, 8)?,
        );
        for instruction in object.get_mut(start..start.checked_add(length)?)?.chunks_exact_mut(8) {
            let &mut [AND, _, _, _, code, a, b, c] = instruction else {
                continue;
            };
            let code = u32::from_le_bytes([code, a, b, c]).wrapping_sub(MASK_PLACEHOLDER) as usize;
            if let Some(&(_, _, elements)) = tables.get(code) {
                instruction[4..].copy_from_slice(&(elements as u32 - 1).to_le_bytes());
                missing[code] = None;
            }
        }
    }
    Some(missing.into_iter().flatten().collect())
}

/// Where the section headers stand.
fn headers(object: &[u8]) -> Option<impl Iterator<Item = usize> + use<>> {
    let (start, count) = (number(object, 40, 8)?, number(object, 60, 2)?);
    Some((0..count).map(move |index| start + index * SECTION_HEADER))
}

/// Where the header of a section stands.
fn header_of(object: &[u8], name: &str) -> Option<usize> {
    let strings = headers(object)?.nth(number(object, 62, 2)?)?;
    let names = number(object, strings + OFFSET_AT, 8)?;
    headers(object)?.find(|&at| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::OBJECT;

    fn placeholders(object: &[u8]) -> usize {
        let codes = (0..DIRECT_TABLES.len() as u32).map(|code| (MASK_PLACEHOLDER + code).to_le_bytes());
        codes
            .map(|code| object.windows(4).filter(|octets| *octets == code).count())
            .sum()
    }

    #[test]
    fn every_index_is_masked_and_no_placeholder_stays() {
        let sized = sized(OBJECT, &DIRECT_TABLES.map(|name| (name, 8, 4))).expect("the object of this build");
        assert!(placeholders(OBJECT) > DIRECT_TABLES.len());
        assert_eq!(placeholders(&sized), 0);
    }

    #[test]
    fn an_object_that_does_not_mask_an_index_is_refused() {
        let mut object = OBJECT.to_vec();
        let code = (MASK_PLACEHOLDER + 4).to_le_bytes();
        while let Some(at) = object.windows(4).position(|octets| octets == code) {
            object[at..at + 4].fill(0);
        }
        let error = sized(&object, &DIRECT_TABLES.map(|name| (name, 8, 4))).expect_err("HOSTS has no mask");
        assert!(
            error
                .to_string()
                .contains("no instruction of it masks an index into HOSTS"),
            "{error}"
        );
        assert!(sized(&OBJECT[..OBJECT.len() / 2], &DIRECT_TABLES.map(|name| (name, 8, 4))).is_err());
    }
}
