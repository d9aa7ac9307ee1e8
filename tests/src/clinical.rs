//! What clinical devices say to each other, in real messages over real sockets: just enough of each protocol that both
//! ends can tell a good exchange from a broken one.

pub mod dicom;
pub mod hl7;
pub mod monitor;
pub mod simple;

use std::io::{self, ErrorKind};

/// An error for an exchange that went wrong.
fn broken(problem: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem.into())
}
