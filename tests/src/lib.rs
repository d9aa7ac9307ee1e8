//! Shared pieces of the tests.

pub mod lab;
pub mod packet;
pub mod shapes;
