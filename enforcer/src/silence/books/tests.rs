use super::*;
use crate::events::tests::policy;

const SECOND: u64 = 1_000_000_000;
const PUMP: Option<&str> = Some("pump-1");

/// A promise that nobody is silent for longer than 2 s.
fn watches() -> Vec<Watch> {
    Watch::all(&policy(
        "rules:\n  p: {from: pumps, to: servers, services: udp/5, action: allow}\n\
         must_flow:\n  waves: {from: pumps, to: servers, services: udp/5, silence: 2s}\n  \
         unwatched: {from: pumps, to: servers, services: udp/5}\n",
    ))
}

/// A reading at `now` seconds, of sources with their frames and when the last one came.
fn read(books: &mut Books, now: u64, voices: &[(Option<&str>, u64, u64)]) -> Vec<(Option<String>, bool)> {
    let voice = |(device, frames, seen): &(Option<&str>, u64, u64)| {
        let spoken = Spoken {
            frames: *frames,
            seen: seen * SECOND,
        };
        ((0, device.map(str::to_owned)), spoken)
    };
    let voices = voices.iter().map(voice).collect();
    let news = books.enter(&watches(), voices, now * SECOND);
    news.into_iter().map(|news| (news.device, news.silent)).collect()
}

fn standing(books: &Books) -> (bool, usize) {
    let standings = books.standings();
    assert_eq!(standings.len(), 1, "what has no `silence` is not watched");
    (standings["waves"].silent, standings["waves"].silent_devices)
}

#[test]
fn a_device_that_stops_is_told_once_and_again_when_it_is_heard() {
    let mut books = Books::default();
    let pump = || PUMP.map(str::to_owned);
    assert_eq!(read(&mut books, 10, &[(PUMP, 5, 10)]), []);
    assert_eq!(read(&mut books, 12, &[(PUMP, 5, 10)]), []);
    assert_eq!(read(&mut books, 13, &[(PUMP, 5, 10)]), [(pump(), true), (None, true)]);
    assert_eq!(read(&mut books, 14, &[(PUMP, 5, 10)]), []);
    assert_eq!(standing(&books), (true, 1));
    assert_eq!(read(&mut books, 15, &[(PUMP, 6, 15)]), [(pump(), false), (None, false)]);
    assert_eq!(standing(&books), (false, 0));
}

#[test]
fn answers_of_the_other_end_are_not_its_voice() {
    let mut books = Books::default();
    read(&mut books, 10, &[(PUMP, 5, 10)]);
    read(&mut books, 12, &[(PUMP, 5, 12)]);
    assert_eq!(
        read(&mut books, 13, &[(PUMP, 5, 13)]).len(),
        2,
        "its server asks and asks"
    );
}

#[test]
fn one_of_two_is_silent_and_the_promise_is_not() {
    let mut books = Books::default();
    read(&mut books, 10, &[(PUMP, 5, 10), (None, 1, 10)]);
    let news = read(&mut books, 13, &[(PUMP, 5, 10), (None, 2, 13)]);
    assert_eq!(news, [(PUMP.map(str::to_owned), true)]);
    assert_eq!(standing(&books), (false, 1));
    // Stations that are no devices count for the promise alone.
    let news = read(&mut books, 16, &[(PUMP, 6, 16), (None, 2, 13)]);
    assert_eq!(news, [(PUMP.map(str::to_owned), false)]);
}

#[test]
fn a_promise_of_which_nothing_was_ever_seen_is_silent_in_time() {
    let mut books = Books::default();
    assert_eq!(read(&mut books, 10, &[]), []);
    assert_eq!(read(&mut books, 12, &[]), []);
    assert_eq!(read(&mut books, 13, &[]), [(None, true)]);
    assert_eq!(standing(&books), (true, 0));
    assert_eq!(read(&mut books, 14, &[(PUMP, 1, 14)]), [(None, false)]);
}

#[test]
fn flows_that_are_forgotten_are_no_silence_while_others_go_on() {
    let mut books = Books::default();
    read(&mut books, 10, &[(PUMP, 500, 10)]);
    assert_eq!(read(&mut books, 12, &[(PUMP, 3, 12)]), []);
    assert_eq!(read(&mut books, 14, &[(PUMP, 4, 14)]), []);
    // Its last flow is gone as well.
    assert_eq!(read(&mut books, 17, &[]).len(), 2);
}

#[test]
fn devices_that_leave_the_policy_are_forgotten() {
    let mut books = Books::default();
    read(&mut books, 10, &[(PUMP, 5, 10), (Some("pump-9"), 5, 10)]);
    read(&mut books, 13, &[(PUMP, 6, 13), (Some("pump-9"), 5, 10)]);
    assert_eq!(standing(&books), (false, 1));
    books.retain(&crate::events::tests::names());
    assert_eq!(standing(&books), (false, 0));
}
