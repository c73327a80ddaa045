//! Events per second over a few windows, as Kafka's `Rate` over `SampledStat` counts them; time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

/// A rate and the windows it is measured in.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    window: Duration,
    windows: usize,
    /// Beginnings and events, the oldest first.
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// `quota.window.num` windows of `quota.window.size.seconds`.
    pub(super) fn new(windows: usize, window: Duration) -> Self {
        Self { window: window.max(Duration::from_secs(1)), windows: windows.max(1), samples: VecDeque::new() }
    }

    /// Counts one event. Returns how long to wait until the rate is at most `per_second` again, one window at most.
    pub(super) fn record(&mut self, now: Duration, per_second: u32) -> Duration {
        let oldest_counted = now.saturating_sub(self.window * self.windows as u32);
        while self.samples.front().is_some_and(|(began, _)| *began < oldest_counted) {
            self.samples.pop_front();
        }
        match self.samples.back_mut() {
            Some((began, events)) if now.saturating_sub(*began) < self.window => *events += 1,
            _ => self.samples.push_back((now, 1)),
        }
        let events = self.samples.iter().map(|(_, events)| events).sum::<u64>() as f64;
        let measured = self.measured_over(now).as_secs_f64();
        let bound = f64::from(per_second);
        if events / measured <= bound {
            return Duration::ZERO;
        }
        if bound == 0.0 {
            return self.window;
        }
        Duration::from_secs_f64((events / bound - measured).max(0.0)).min(self.window)
    }

    /// All windows but the current one count as full, whether they have passed yet or not.
    fn measured_over(&self, now: Duration) -> Duration {
        let began = self.samples.front().map_or(now, |(began, _)| *began);
        let passed = now.saturating_sub(began);
        let full = (passed.as_millis() / self.window.as_millis()) as u32;
        let missing = (self.windows as u32 - 1).saturating_sub(full);
        let measured = passed + self.window * missing;
        if measured.is_zero() { self.window } else { measured }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_ten_seconds_worth_passes_and_the_next_event_waits() {
        let mut rate = Rate::new(11, Duration::from_secs(1));
        let now = Duration::from_secs(100);
        for _ in 0..50 {
            assert_eq!(rate.record(now, 5), Duration::ZERO);
        }
        assert_eq!(rate.record(now, 5), Duration::from_millis(200));
        for _ in 0..100 {
            rate.record(now, 5);
        }
        assert_eq!(rate.record(now, 5), Duration::from_secs(1));
    }

    #[test]
    fn what_is_old_does_not_count() {
        let mut rate = Rate::new(11, Duration::from_secs(1));
        for _ in 0..500 {
            rate.record(Duration::from_secs(100), 5);
        }
        assert_eq!(rate.record(Duration::from_secs(112), 5), Duration::ZERO);
    }

    #[test]
    fn a_steady_stream_below_the_limit_never_waits() {
        let mut rate = Rate::new(11, Duration::from_secs(1));
        for event in 0..1000 {
            assert_eq!(rate.record(Duration::from_millis(event * 250), 5), Duration::ZERO, "{event}");
        }
    }
}
