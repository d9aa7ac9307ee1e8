//! Rules that expire, when the wall clock is set: their ends are put on the kernel's clock when a policy is loaded, as far as the wall
//! clock is right then. A gateway that boots with a wrong clock gets the right one later.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::{Controller, RETRY_PAUSE};

/// Smaller differences are the time between two readings.
const JUMP: i128 = 2_000_000_000;

/// How far the wall clock is ahead of the clock that the kernel program decides by, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WallClock(i128);

impl WallClock {
    /// Now.
    pub(super) fn read() -> Self {
        let since = clock_gettime(ClockId::Monotonic);
        let since = Duration::new(since.tv_sec.cast_unsigned(), since.tv_nsec.cast_unsigned() as u32);
        Self::of(SystemTime::now(), since)
    }

    fn of(wall: SystemTime, monotonic: Duration) -> Self {
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        let wall = match wall.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => -nanos(before.duration()),
        };
        Self(wall - nanos(monotonic))
    }

    /// By how many seconds the wall clock was set since an earlier reading; `None` when it was not.
    pub(super) fn jump_since(self, earlier: Self) -> Option<i64> {
        let by = self.0 - earlier.0;
        (by.abs() > JUMP).then(|| i64::try_from(by / 1_000_000_000).unwrap_or(i64::MAX))
    }
}

impl Controller {
    /// When the wall clock was set, rules that expire get their ends anew, by putting the running policy in force once more.
    pub(super) fn follow_clock(&mut self) {
        let Some(by) = WallClock::read().jump_since(self.wall) else {
            return;
        };
        let Some(running) = self.running.as_ref().filter(|running| running.policy.expires) else {
            self.wall = WallClock::read();
            return;
        };
        if self.next_repair > Instant::now() {
            return;
        }
        tracing::warn!("the clock was set by {by} s: rules that expire get their ends anew");
        let done = running.policy.anew().map_err(|errors| errors.to_string());
        let done = done.and_then(|policy| self.put_in_force(policy).map_err(|error| error.to_string()));
        if let Err(error) = done {
            tracing::error!("rules that expire still follow the clock from before: {error}");
            self.next_repair = Instant::now() + RETRY_PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_has_not_jumped_and_one_that_is_set_has() {
        let at = |wall: u64, monotonic: u64| {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(wall);
            WallClock::of(wall, Duration::from_secs(monotonic))
        };
        let boot = at(1_000, 10);
        assert_eq!(at(5_000, 4_010).jump_since(boot), None);
        assert_eq!(at(5_002, 4_010).jump_since(boot), None, "a reading takes time");
        assert_eq!(at(1_800_000_000, 20).jump_since(boot), Some(1_799_998_990));
        assert_eq!(at(900, 20).jump_since(boot), Some(-110));
        let ancient = WallClock::of(SystemTime::UNIX_EPOCH - Duration::from_secs(7), Duration::from_secs(1));
        assert_eq!(at(10, 2).jump_since(ancient), Some(16));
    }
}
