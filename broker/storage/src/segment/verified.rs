//! Which bytes of a .log this process has written or verified: the others are checked before they are sent for the first time.
//!
//! A few disjoint ranges: a writer grows one at the end, each reader one of its own, and ranges that meet become one. Where there are too many the
//! smallest is forgotten, which only costs a second check. Kafka has no such thing: it leaves checksums to its clients.

const RANGES_MAX: usize = 32;

/// Half-open ranges, ascending, with gaps between them.
#[derive(Debug, Default)]
pub(super) struct Verified {
    ranges: Vec<(u64, u64)>,
}

impl Verified {
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        // The writer's road: one range that grows at its end.
        if let Some(last) = self.ranges.last_mut()
            && last.1 == from
        {
            last.1 = to;
            return;
        }
        let first = self.ranges.partition_point(|range| range.1 < from);
        let end = self.ranges.partition_point(|range| range.0 <= to);
        let joined = self.ranges.get(first..end).unwrap_or_default();
        let from = joined.first().map_or(from, |range| range.0.min(from));
        let to = joined.last().map_or(to, |range| range.1.max(to));
        self.ranges.splice(first..end, [(from, to)]);
        if self.ranges.len() > RANGES_MAX
            && let Some((smallest, _)) = self.ranges.iter().enumerate().min_by_key(|(_, (from, to))| to - from)
        {
            self.ranges.remove(smallest);
        }
    }

    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        let holding = self.ranges.partition_point(|range| range.0 <= from).checked_sub(1);
        from >= to || holding.and_then(|index| self.ranges.get(index)).is_some_and(|range| to <= range.1)
    }

    /// The file now ends at `len`.
    pub(super) fn truncate(&mut self, len: u64) {
        self.ranges.retain(|range| range.0 < len);
        if let Some(last) = self.ranges.last_mut() {
            last.1 = last.1.min(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_meet_become_one() {
        let mut verified = Verified::default();
        for (from, to) in [(10, 20), (30, 40), (0, 5), (20, 30), (5, 8)] {
            verified.add(from, to);
        }
        assert_eq!(verified.ranges, [(0, 8), (10, 40)]);
        assert!(verified.covers(12, 40) && verified.covers(0, 8) && verified.covers(9, 9));
        assert!(!verified.covers(7, 11) && !verified.covers(39, 41));
        verified.truncate(15);
        assert_eq!(verified.ranges, [(0, 8), (10, 15)]);
    }

    proptest! {
        #[test]
        fn covers_nothing_that_was_not_added(
            steps in proptest::collection::vec((0u64..300, 0u64..40, 0u8..10), 0..80),
            from in 0u64..320,
            len in 0u64..20,
        ) {
            let mut verified = Verified::default();
            let mut model = [false; 400];
            for (from, len, kind) in steps {
                if kind == 0 {
                    verified.truncate(from);
                    model[from as usize..].fill(false);
                } else {
                    verified.add(from, from + len);
                    model[from as usize..(from + len) as usize].fill(true);
                }
            }
            let is_there = model[from as usize..(from + len) as usize].iter().all(|known| *known);
            prop_assert!(is_there || !verified.covers(from, from + len));
            // With so few ranges none is forgotten unless there were more than the bound.
            let ranges = model.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            prop_assert!(!is_there || ranges >= RANGES_MAX || len == 0 || verified.covers(from, from + len) || verified.ranges.len() >= RANGES_MAX);
        }
    }
}
