//! One revision as octets: a header line, the hash of that line, then the texts one after the other.
//!
//! The header tells the length and the hash of every text, so a file that was cut off, or changed, is never taken for a
//! revision.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::words::hexadecimal;

/// The version of the header.
const SCHEMA_VERSION: u32 = 1;

/// What is known of a revision without its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    schema_version: u32,
    /// Number of the revision, from 1.
    pub number: u32,
    /// When it was put in force, Unix seconds.
    pub at: u64,
    /// Who asked for it; `None` for the controller itself.
    pub uid: Option<u32>,
    /// Why.
    pub comment: String,
    /// The revision that was in force before it; `None` where there was none.
    #[serde(default)]
    pub replaced: Option<u32>,
    /// SHA-256 of the policy, hexadecimal, as `enforcer status` has it.
    pub policy_hash: String,
    /// Its files.
    pub files: Vec<FileHeader>,
}

/// One file of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHeader {
    /// Where it stood.
    pub path: PathBuf,
    /// Its octets.
    pub length: u64,
    /// SHA-256 of its text, hexadecimal.
    pub hash: String,
}

/// A revision with its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// What is known of it.
    pub header: Header,
    /// Paths and texts.
    pub files: Vec<(PathBuf, String)>,
}

/// What a new revision consists of.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// When, Unix seconds.
    pub at: u64,
    /// Who asked; `None` for the controller itself.
    pub uid: Option<u32>,
    /// Why.
    pub comment: String,
    /// The revision that was in force before it.
    pub replaced: Option<u32>,
    /// SHA-256 of the policy, hexadecimal.
    pub policy_hash: String,
    /// Paths and texts.
    pub files: Vec<(PathBuf, String)>,
}

/// The octets of a revision's file.
pub(super) fn encode(number: u32, change: &Change) -> Vec<u8> {
    let header = Header {
        schema_version: SCHEMA_VERSION,
        number,
        at: change.at,
        uid: change.uid,
        comment: change.comment.clone(),
        replaced: change.replaced,
        policy_hash: change.policy_hash.clone(),
        files: (change.files.iter())
            .map(|(path, text)| FileHeader {
                path: path.clone(),
                length: text.len() as u64,
                hash: hash(text.as_bytes()),
            })
            .collect(),
    };
    let mut octets = seal(&header);
    for (_, text) in &change.files {
        octets.extend_from_slice(text.as_bytes());
    }
    octets
}

/// A line of JSON, and its hash on a line of its own.
pub(super) fn seal(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists always have a JSON text.
    let line = serde_json::to_string(value).unwrap_or_default();
    format!("{line}\n{}\n", hash(line.as_bytes())).into_bytes()
}

/// What was sealed, and the octets that follow it; or what is wrong.
pub(super) fn unseal<T: DeserializeOwned>(octets: &[u8]) -> Result<(T, &[u8]), String> {
    let cut = || "it is cut off".to_owned();
    let (line, rest) = split_line(octets).ok_or_else(cut)?;
    let (sum, rest) = split_line(rest).ok_or_else(cut)?;
    if hash(line).as_bytes() != sum {
        return Err("its first line is not what was written".to_owned());
    }
    let value = serde_json::from_slice(line).map_err(|error| format!("its first line cannot be read: {error}"))?;
    Ok((value, rest))
}

/// The header, and the octets that follow it; or what is wrong.
pub(super) fn decode_header(octets: &[u8]) -> Result<(Header, &[u8]), String> {
    let (header, rest) = unseal::<Header>(octets)?;
    if header.schema_version != SCHEMA_VERSION {
        return Err(format!("it has version {} of another enforcer", header.schema_version));
    }
    Ok((header, rest))
}

/// A whole revision, or what is wrong.
pub(super) fn decode(octets: &[u8]) -> Result<Revision, String> {
    let (header, mut rest) = decode_header(octets)?;
    let mut files = Vec::new();
    for file in &header.files {
        let (text, behind) = rest
            .split_at_checked(file.length as usize)
            .ok_or_else(|| "it is cut off".to_owned())?;
        if hash(text) != file.hash {
            return Err(format!("its text of {} is not what was written", file.path.display()));
        }
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        files.push((file.path.clone(), text.to_owned()));
        rest = behind;
    }
    if rest.is_empty() {
        Ok(Revision { header, files })
    } else {
        Err("something follows it".to_owned())
    }
}

fn split_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = octets.iter().position(|octet| *octet == b'\n')?;
    Some((&octets[..end], &octets[end + 1..]))
}

fn hash(octets: &[u8]) -> String {
    hexadecimal(&Sha256::digest(octets))
}
