//! Real kernels of a distribution in virtual machines: where they come from, what they boot, what they say.

pub(crate) mod archive;
pub(crate) mod debian;
pub(crate) mod guest;
pub(crate) mod table;
