//! Mutations of octets, blind but with a vocabulary.

use crate::random::Random;

/// Values at which code likes to be wrong.
const EDGES: [u8; 12] = [0, 1, 2, 4, 5, 0x0f, 0x10, 0x40, 0x7f, 0x80, 0xfe, 0xff];
/// The longest input.
const LONGEST: usize = 4096;

/// One of `inputs` with a few changes. `words` are what the language is made of.
///
/// # Panics
/// When there are no inputs.
pub fn mutated(random: &mut Random, inputs: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut octets = random.pick(inputs);
    for _ in 0..=random.below(6) {
        change(random, &mut octets, inputs, words);
    }
    octets.truncate(LONGEST);
    octets
}

fn change(random: &mut Random, octets: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.below(octets.len() + 1);
    let stretch = at..octets.len().min(at + 1 + random.below(16));
    match random.below(9) {
        0 | 1 if at < octets.len() => octets[at] ^= 1 << random.below(8),
        2 if at < octets.len() => octets[at] = random.pick(&EDGES),
        3 if at < octets.len() => octets[at] = random.bits() as u8,
        4 => drop(octets.drain(stretch)),
        5 => {
            let copy = octets[stretch].to_vec();
            let to = random.below(octets.len() + 1);
            octets.splice(to..to, copy);
        }
        6 if random.percent(20) => octets.truncate(at),
        7 => {
            // The start of this one and the end of another.
            let other = random.pick(inputs);
            let from = random.below(other.len() + 1);
            octets.truncate(at);
            octets.extend(&other[from..]);
        }
        _ if !words.is_empty() => {
            let word = random.pick(words);
            let end = if random.percent(50) { at } else { stretch.end };
            octets.splice(at..end, word.iter().copied());
        }
        _ => octets.insert(at, random.pick(&EDGES)),
    }
}
