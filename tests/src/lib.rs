//! Shared pieces of the tests.

pub mod clinical;
pub mod demo;
pub mod fuzz;
pub mod kernel;
pub mod lab;
pub mod offer;
pub mod oracle;
pub mod packet;
pub mod random;
pub mod reference;
pub mod shapes;
