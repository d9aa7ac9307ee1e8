//! How many flows run at the same time.
//!
//! A counter that goes up with each new flow and down with each end would have to see every end, but flows also end in
//! silence, or by making room for others. So what is counted are the flows with a frame of their initiator in a window of
//! time: each is counted once a window, and no longer once it closes. A count that goes wrong in any way is forgotten
//! with its window.

use crate::abi::{Bucket, Flow, FlowState};

/// Nanoseconds of a window, as a power of two: 17.2 seconds.
const WINDOW_BITS: u32 = 34;
/// [`Flow::counted`] of a flow that has closed.
const CLOSED: u32 = u32::MAX;
/// Counts beyond this are below zero.
const MOST: u32 = 1 << 31;

/// What a frame does to the count of concurrent flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Nothing.
    #[default]
    None = 0,
    /// Its flow is to be counted in this window.
    Enters = 1,
    /// Its flow closes, and was counted in this window.
    Leaves = 2,
    /// The same, and it was counted in the window before too.
    LeavesBoth = 3,
    /// Its flow closes, and was counted in the window before only.
    LeavesPrevious = 4,
}

impl Activity {
    /// The activity with this code.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Enters,
            2 => Self::Leaves,
            3 => Self::LeavesBoth,
            4 => Self::LeavesPrevious,
            _ => Self::None,
        }
    }
}

/// The window of a time, from 1: 0 stands for none.
#[inline(always)]
const fn window_of(now: u64) -> u32 {
    // 30 bits, for 2^64 nanoseconds.
    (now >> WINDOW_BITS) as u32 + 1
}

/// [`Flow::counted`] of a flow that enters: the window, and in the lowest bit, whether it was counted in the one before.
#[inline(always)]
pub const fn entered(before: u32, now: u64) -> u32 {
    let window = window_of(now);
    window << 1 | is_previous(before, window) as u32
}

#[inline(always)]
const fn is_previous(counted: u32, window: u32) -> bool {
    counted != 0 && (counted >> 1) + 1 == window
}

/// What a frame of the initiator does, when its flow is in `state` after it; and [`Flow::counted`] from then on.
#[inline(always)]
pub fn of_frame(flow: &Flow, state: FlowState, now: u64) -> (Activity, u32) {
    let (counted, window) = (flow.counted.get(), window_of(now));
    let here = counted != 0 && counted >> 1 == window;
    if matches!(state, FlowState::Closing | FlowState::Reset) {
        let activity = match (here, counted & 1 != 0) {
            _ if counted == CLOSED => Activity::None,
            (true, true) => Activity::LeavesBoth,
            (true, false) => Activity::Leaves,
            (false, _) if is_previous(counted, window) => Activity::LeavesPrevious,
            (false, _) => Activity::None,
        };
        return (activity, CLOSED);
    }
    if here {
        (Activity::None, counted)
    } else {
        (Activity::Enters, entered(counted, now))
    }
}

impl Bucket {
    /// Whether one more flow may open.
    #[inline(always)]
    pub fn has_room(&self, limit: u32, now: u64) -> bool {
        if limit == 0 {
            return true;
        }
        self.turn(now);
        let [even, odd] = &self.active;
        let (even, odd) = (counted(even.get()), counted(odd.get()));
        (if even > odd { even } else { odd }) < limit
    }

    /// Accounts for what a frame does.
    #[inline(always)]
    pub fn follow(&self, activity: Activity, now: u64) {
        self.turn(now);
        let [even, odd] = &self.active;
        let (this, previous) = if window_of(now) & 1 == 0 {
            (even, odd)
        } else {
            (odd, even)
        };
        match activity {
            Activity::None => {}
            Activity::Enters => this.add(1),
            Activity::Leaves => this.add(u32::MAX),
            Activity::LeavesPrevious => previous.add(u32::MAX),
            Activity::LeavesBoth => {
                this.add(u32::MAX);
                previous.add(u32::MAX);
            }
        }
    }

    /// When its counts stand for nothing any more: at the end of the window after theirs. 0 without counts.
    #[inline(always)]
    pub(crate) fn counts_end(&self) -> u64 {
        let [even, odd] = &self.active;
        if even.get() | odd.get() == 0 {
            return 0;
        }
        (self.window.get() + 1) << WINDOW_BITS
    }

    /// Begins a new window. The count of the one before stays; of several CPUs one does it.
    #[inline(always)]
    fn turn(&self, now: u64) {
        let window = u64::from(window_of(now));
        let last = self.window.get();
        if last >= window || !self.window.replace(last, window) {
            return;
        }
        let [even, odd] = &self.active;
        if window & 1 == 0 || last + 1 < window {
            even.set(0);
        }
        if window & 1 == 1 || last + 1 < window {
            odd.set(0);
        }
    }
}

/// A count; a flow that left twice, or left a bucket that was made anew, has taken it below zero.
#[inline(always)]
const fn counted(count: u32) -> u32 {
    if count < MOST { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 1 << WINDOW_BITS;

    fn open(bucket: &Bucket, limit: u32, now: u64) -> Option<Flow> {
        bucket.has_room(limit, now).then(|| {
            bucket.follow(Activity::Enters, now);
            let flow = Flow::new(FlowState::SynSent, true, 0, 1, 0, now);
            flow.counted.set(entered(0, now));
            flow
        })
    }

    fn frame(bucket: &Bucket, flow: &Flow, state: FlowState, now: u64) {
        let (activity, counted) = of_frame(flow, state, now);
        bucket.follow(activity, now);
        flow.counted.set(counted);
    }

    #[test]
    fn as_many_open_as_the_limit_says() {
        let bucket = Bucket::default();
        let opened = (0..10).filter_map(|_| open(&bucket, 3, WINDOW * 7)).count();
        assert_eq!(opened, 3);
    }

    #[test]
    fn a_closed_flow_makes_room_at_once() {
        let bucket = Bucket::default();
        let mut now = WINDOW * 8;
        for _ in 0..1000 {
            let flow = open(&bucket, 1, now).expect("the one before has closed");
            assert!(open(&bucket, 1, now).is_none());
            now += WINDOW / 10;
            frame(&bucket, &flow, FlowState::Established, now);
            now += WINDOW / 3;
            frame(&bucket, &flow, FlowState::Closing, now);
            frame(&bucket, &flow, FlowState::Closing, now);
        }
    }

    #[test]
    fn flows_that_go_on_keep_their_places() {
        let bucket = Bucket::default();
        let flows: Vec<_> = (0..4).filter_map(|_| open(&bucket, 4, WINDOW * 9)).collect();
        for quarter in 1..40 {
            let now = WINDOW * 9 + quarter * WINDOW / 4;
            for flow in &flows {
                frame(&bucket, flow, FlowState::Established, now);
            }
            assert!(open(&bucket, 4, now).is_none(), "after {quarter} quarters");
        }
    }

    #[test]
    fn silent_flows_give_their_places_back_after_two_windows() {
        let bucket = Bucket::default();
        let now = WINDOW * 10;
        assert!(open(&bucket, 1, now).is_some());
        assert!(open(&bucket, 1, now + WINDOW).is_none());
        assert!(open(&bucket, 1, now + 2 * WINDOW).is_some());
    }

    /// Who opened a session sent a reset that the other end ignores (RFC 5961), and went on without a place: so anybody had as many
    /// sessions as he liked.
    #[test]
    fn a_session_that_goes_on_after_a_reset_takes_its_place_again() {
        let bucket = Bucket::default();
        let now = WINDOW * 12;
        let flow = open(&bucket, 1, now).unwrap();
        frame(&bucket, &flow, FlowState::Reset, now);
        frame(&bucket, &flow, FlowState::PickedUp, now + 1);
        assert!(open(&bucket, 1, now + 2).is_none());
    }

    /// Table pressure may take a bucket away while its flows go on.
    #[test]
    fn a_flow_that_leaves_a_new_bucket_blocks_nobody() {
        let old = Bucket::default();
        let now = WINDOW * 11;
        let flow = open(&old, 1, now).unwrap();
        let new = Bucket::default();
        frame(&new, &flow, FlowState::Closing, now);
        assert!(open(&new, 1, now).is_some());
    }
}
