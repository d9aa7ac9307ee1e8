//! Of the table of buckets.

use std::collections::{HashMap, HashSet};
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::abi::{Rate, bucket_kind};
use crate::concurrency::Activity;
use crate::ratelimit;

const NOW: u64 = 1_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn key(address: u32) -> BucketKey {
    BucketKey {
        owner: [0, 0, 0, address],
        space: BucketKey::space(1, bucket_kind::FROM, 4),
        ..BucketKey::default()
    }
}

fn marked(seed: u64, key: &BucketKey) -> u64 {
    let secret = secret(seed);
    mark(key, |word| secret[word])
}

/// Of a set alone, any marks will do.
const fn numbered(number: u64) -> u64 {
    mark::KEYED | (number + 1) << 1
}

/// The bucket, and what was there before if it is a new one.
fn asked(set: &BucketSet, mark: u64, now: u64) -> (&Bucket, Option<Before>) {
    let (way, before) = match find(set, mark) {
        Some(way) => (way, None),
        None => claim(set, mark, now)
            .map(|(way, before)| (way, Some(before)))
            .expect("nobody else is here"),
    };
    (&set.slots[way].bucket, before)
}

fn claimed(set: &BucketSet, mark: u64, now: u64) -> (&Bucket, Before) {
    let (bucket, before) = asked(set, mark, now);
    (bucket, before.expect("it is a new one"))
}

/// Owed from `now` to so many seconds after [`NOW`].
fn owing(set: &BucketSet, mark: u64, seconds: u64) -> Before {
    let (bucket, before) = claimed(set, mark, NOW);
    bucket.packets.set(NOW + seconds * SECOND);
    before
}

#[test]
fn a_bucket_is_found_in_whichever_slot() {
    let set = BucketSet::default();
    for number in 0..4 {
        assert_eq!(find(&set, numbered(number)), None);
        assert_eq!(owing(&set, numbered(number), 5), Before::Free);
        assert_eq!(find(&set, numbered(number)), Some(number as usize));
    }
    assert_eq!(set.used(), 4);
}

#[test]
fn a_full_set_gives_up_what_is_past_first() {
    let set = BucketSet::default();
    for (number, seconds) in [5, 3, 9, 7].into_iter().enumerate() {
        owing(&set, numbered(number as u64), seconds);
    }
    assert_eq!(owing(&set, numbered(10), 20), Before::Needed);
    assert_eq!(find(&set, numbered(1)), None, "it was past first");
    assert_eq!(find(&set, numbered(10)), Some(1));
    assert_eq!(owing(&set, numbered(11), 20), Before::Needed);
    assert_eq!(find(&set, numbered(0)), None, "it was next");
    let (bucket, before) = claimed(&set, numbered(12), NOW + 8 * SECOND);
    assert_eq!(before, Before::Past);
    assert_eq!(find(&set, numbered(3)), None);
    assert_eq!(bucket.octets.get() + bucket.flows.get() + bucket.window.get(), 0);
}

#[test]
fn flows_at_the_same_time_hold_a_bucket_for_two_windows() {
    const WINDOW: u64 = 1 << 34;
    let set = BucketSet::default();
    let start = 100 * WINDOW;
    for number in 0..4 {
        let (bucket, _) = claimed(&set, numbered(number), start);
        bucket.follow(Activity::Enters, start + number * SECOND);
    }
    let late = start + 2 * WINDOW;
    let before = |now| claimed(&set.clone(), numbered(9), now).1;
    assert_eq!(before(start + WINDOW), Before::Needed);
    assert_eq!(before(late - SECOND), Before::Needed);
    assert_eq!(before(late + 1), Before::Past);
    // What closed holds nothing.
    set.slots[2].bucket.follow(Activity::Leaves, start + SECOND);
    assert_eq!(claimed(&set, numbered(9), start + WINDOW).1, Before::Past);
    assert_eq!(find(&set, numbered(9)), Some(2));
}

/// A bucket is charged after all of its frame's were looked up. Until then it holds nothing, and the next one of the frame
/// would have taken its slot, in a set that is full otherwise.
#[test]
fn the_buckets_of_one_frame_take_no_slot_from_each_other() {
    let set = BucketSet::default();
    (0..4).for_each(|number| {
        owing(&set, numbered(number), 5);
    });
    let frame: Vec<_> = (10..14).map(numbered).collect();
    for mark in &frame {
        assert_eq!(claimed(&set, *mark, NOW).1, Before::Needed);
    }
    let ways: HashSet<_> = frame
        .iter()
        .map(|mark| find(&set, *mark).expect("still there"))
        .collect();
    assert_eq!(ways.len(), 4);
}

#[test]
fn a_slot_that_is_being_taken_is_left_alone() {
    let set = BucketSet::default();
    (0..3).for_each(|number| {
        owing(&set, numbered(number), 5);
    });
    let taken = taken_for(numbered(6));
    set.slots[3].mark.set(taken);
    assert_eq!(owing(&set, numbered(7), 5), Before::Needed);
    assert_eq!(claim(&set, numbered(6), NOW), None, "another CPU makes it");
    assert_eq!(set.slots[3].mark.get(), taken);
    for slot in &set.slots {
        slot.mark.set(taken);
    }
    assert_eq!(claim(&set, numbered(8), NOW), None);
    assert_eq!(set.used(), 0);
}

#[test]
fn a_new_bucket_has_its_whole_burst() {
    let rate = Rate::of_units(SECOND, 4 * SECOND);
    let set = BucketSet::default();
    let (bucket, _) = claimed(&set, numbered(1), NOW);
    let passed = (0..10).filter(|_| ratelimit::take(&bucket.packets, rate, NOW)).count();
    assert_eq!(passed, 5);
}

/// The four sums and products of NH by hand, and that each word of the key counts.
#[test]
fn the_mark_is_nh_of_all_words() {
    let secret: [u32; 12] = core::array::from_fn(|word| 0x1000_0000 + word as u32);
    let of = |key: &BucketKey| mark(key, |word| secret[word]);
    let words: [u32; 12] = core::array::from_fn(|word| 0xfff0_0000 + 77 * word as u32);
    let built = |words: [u32; 12]| BucketKey {
        owner: words[..4].try_into().unwrap(),
        peer: words[4..8].try_into().unwrap(),
        subject: u64::from(words[9]) << 32 | u64::from(words[8]),
        space: u64::from(words[11]) << 32 | u64::from(words[10]),
    };
    let sum = (0..6).fold(0_u64, |sum, pair| {
        let [one, other] = [2 * pair, 2 * pair + 1].map(|at| u64::from(words[at].wrapping_add(secret[at])));
        sum.wrapping_add(one.wrapping_mul(other))
    });
    assert_eq!(of(&built(words)), sum | mark::KEYED);
    for at in 0..12 {
        let mut other = words;
        other[at] ^= 1;
        assert_ne!(of(&built(other)), of(&built(words)), "word {at}");
    }
}

/// Reference output of `SplitMix64` with seed 1234567 (S. Vigna, `splitmix64.c`): its upper halves.
#[test]
fn the_secret_is_splitmix64() {
    let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
    assert_eq!(secret(1_234_567)[..2], expected.map(|word| (word >> 32) as u32));
}

/// Addresses in a row, as a ward has them and as a scan has them, fill sets as chance would: of 4096 in as many slots, chance
/// leaves some 18.5 % without a place of their own.
#[test]
fn neighbours_spread_over_the_sets() {
    for step in [1, 2, 256, 1 << 16] {
        let (mut marks, mut over) = (HashSet::new(), 0);
        for seed in 0..50 {
            let mut sets = HashMap::<u32, u32>::new();
            for number in 0..4096 {
                let mark = marked(seed, &key(0x0a00_0000_u32.wrapping_add(number * step)));
                marks.insert((seed, mark));
                *sets.entry(set_number(mark, 1023)).or_default() += 1;
            }
            over += sets.values().map(|count| count.saturating_sub(4)).sum::<u32>();
        }
        assert_eq!(marks.len(), 50 * 4096, "two share a mark, step {step}");
        let share = f64::from(over) / (50.0 * 4096.0);
        assert!(share < 0.25, "step {step}: {share} have no place");
    }
}

/// Two CPUs at once, on two buckets: whoever gets a bucket gets the one that all others get, and what is charged is kept. However
/// long a CPU rests in the middle.
#[test]
fn two_cpus_never_make_one_bucket_twice() {
    const FRAMES: u64 = 1000;
    for _ in 0..200 {
        let set = BucketSet::default();
        let start = Barrier::new(2);
        let hammer = || {
            let mut charged = [0_u64; 2];
            start.wait();
            for frame in 0..FRAMES {
                let number = frame & 1;
                let mark = numbered(number);
                if let Some(way) = find(&set, mark).or_else(|| claim(&set, mark, NOW).map(|(way, _)| way)) {
                    set.slots[way].bucket.packets.add(1);
                    charged[number as usize] += 1;
                }
            }
            charged
        };
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(hammer);
            (hammer(), other.join().unwrap())
        });
        for number in 0..2 {
            let way = find(&set, numbered(number as u64)).expect("it was made");
            let kept = set.slots[way].bucket.packets.get() - NOW;
            assert_eq!(kept, one[number] + other[number]);
        }
        assert_eq!(set.used(), 2);
    }
}

/// Two CPUs that make many buckets in one set: none is made twice in the counts, and each slot stays one of a bucket.
#[test]
fn two_cpus_that_make_buckets_count_each() {
    let set = BucketSet::default();
    let hammer = |first: u64| {
        let mut kept = 0_i64;
        for number in 0..20_000 {
            let now = NOW + number;
            match claim(&set, numbered(first + number), now) {
                Some((_, Before::Free)) => kept += 1,
                Some((way, Before::Past | Before::Needed)) => set.slots[way].bucket.packets.set(now + number % 7),
                None => {}
            }
        }
        kept
    };
    let free = thread::scope(|scope| {
        let other = scope.spawn(|| hammer(1 << 20));
        hammer(0) + other.join().unwrap()
    });
    assert_eq!(free, 4, "a free slot was filled once");
    assert_eq!(set.used(), 4, "and no slot stays taken");
}

/// What is asked of the table: an address, so many nanoseconds after the step before.
fn steps(addresses: u32) -> impl Strategy<Value = Vec<(u32, u64)>> {
    let step = (0..addresses, 0..3 * SECOND / 10);
    prop::collection::vec(step, 1..400)
}

/// The answers of a limit of one in 0.1 to 0.4 seconds and a burst of three, with a bucket from `of`.
fn answers<'a>(steps: &[(u32, u64)], mut of: impl FnMut(u32, u64) -> &'a Bucket) -> Vec<bool> {
    let mut now = NOW;
    let answer = |&(address, pause): &(u32, u64)| {
        now += pause;
        let cost = SECOND / 10 * (1 + u64::from(address) % 4);
        ratelimit::take(&of(address, now).packets, Rate::of_units(cost, 2 * cost), now)
    };
    steps.iter().map(answer).collect()
}

proptest! {
    /// While no more than four are in use in a set, it answers like a table of any size, whatever its buckets were before.
    #[test]
    fn a_set_that_is_not_over_full_answers_like_a_hash_map(steps in steps(4), pause in 0..5 * SECOND) {
        let set = BucketSet::default();
        (20..24).for_each(|number| {
            claimed(&set, numbered(number), NOW - 1 - pause);
        });
        let exact: [Bucket; 4] = Default::default();
        let kept = answers(&steps, |address, now| asked(&set, numbered(address.into()), now).0);
        prop_assert_eq!(kept, answers(&steps, |address, _| &exact[address as usize]));
    }

    /// With any number, a bucket is lost only by being given up, and the counts of what was made and freed tell how many.
    #[test]
    fn what_is_given_up_is_counted(steps in steps(12)) {
        let set = BucketSet::default();
        let (mut made, mut freed, mut given_up) = (0, 0, 0);
        let mut exact = HashMap::<u32, u64>::new();
        let mut now = NOW;
        for (address, pause) in steps {
            now += pause;
            let (bucket, before) = asked(&set, numbered(address.into()), now);
            made += u64::from(before.is_some());
            freed += u64::from(before == Some(Before::Past));
            given_up += u64::from(before == Some(Before::Needed));
            if before.is_some() && exact.get(&address).is_some_and(|ends| *ends > now) {
                prop_assert!(given_up > 0, "a bucket that was needed is gone");
            }
            ratelimit::charge(&bucket.packets, Rate::of_units(SECOND, 0).one(), now);
            exact.insert(address, bucket.packets.get());
        }
        prop_assert_eq!(given_up, made - freed - set.used());
    }
}
