//! The TCP options of random segments.

use crate::oracle::{TcpOption, options};
use crate::random::Random;

/// Sizes around the floors of policies, and the defaults of both families.
const MSS: [u16; 12] = [0, 1, 63, 64, 535, 536, 537, 1219, 1220, 1221, 1460, 65535];

/// TCP options: mostly none, or an MSS alone; sometimes several, and some that make no sense.
pub(super) fn of(random: &mut Random) -> Vec<TcpOption> {
    let mss = random.pick(&MSS);
    match random.below(10) {
        0..4 => Vec::new(),
        4..7 => vec![TcpOption::Mss(mss)],
        _ => {
            let mut options = Vec::new();
            for _ in 0..=random.below(8) {
                let option = match random.below(24) {
                    0..6 => TcpOption::Mss(random.pick(&MSS)),
                    6..14 => TcpOption::Nothing,
                    14..18 => TcpOption::Other(random.pick(&[0, 1, 2, 8])),
                    18 => TcpOption::MssOfLength(random.pick(&[2, 3, 5, 6])),
                    19 => TcpOption::Short(random.pick(&[0, 1])),
                    20 => TcpOption::Long,
                    21 => TcpOption::Cut,
                    _ => TcpOption::End,
                };
                options.push(option);
                // What stands behind this one would be something else.
                if option == TcpOption::Cut {
                    break;
                }
            }
            while !options::fit(&options) {
                options.remove(0);
            }
            options
        }
    }
}
