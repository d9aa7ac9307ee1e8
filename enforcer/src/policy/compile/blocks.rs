//! Blocks of 256 numbers, stored once however often they occur.

use std::collections::HashMap;

/// Blocks and the number of each. Block 0 is all zero.
pub(super) struct Blocks {
    pub(super) list: Vec<[u32; 256]>,
    numbers: HashMap<Box<[u32; 256]>, u32>,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let mut blocks = Self {
            list: Vec::new(),
            numbers: HashMap::new(),
        };
        blocks.number(&[0; 256]);
        blocks
    }

    /// The number of a block, new or known.
    pub(super) fn number(&mut self, block: &[u32; 256]) -> u32 {
        if let Some(&number) = self.numbers.get(block) {
            return number;
        }
        let number = self.list.len() as u32;
        self.list.push(*block);
        self.numbers.insert(Box::new(*block), number);
        number
    }
}
