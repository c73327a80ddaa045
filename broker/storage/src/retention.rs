//! Which segments are to be deleted. Pure.
//!
//! Whole segments, oldest first, never one that reaches above the high watermark: those below the log start always; with `delete` in `cleanup.policy`
//! while the rest still holds `retention.bytes`, and those whose largest timestamp is older than `retention.ms`. A timestamp in the future never
//! expires. The active segment may go, too, if it holds records; the log is rolled first. Source: `UnifiedLog.deleteOldSegments`.

use milena_protocol::types::{Offset, Timestamp};

use crate::log_config::LogConfig;

/// A segment, as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// End of the segment, exclusive: the next one's base offset, or the log end.
    pub end_offset: Offset,
    /// Bytes of its .log.
    pub size: u64,
    /// Largest timestamp of its records; where they have none, the last change of the file.
    pub largest_timestamp: Timestamp,
}

/// How many of `segments` (oldest first, the last one is active) are to be deleted.
pub fn deletable(
    segments: &[SegmentSummary],
    config: &LogConfig,
    now: Timestamp,
    log_start_offset: Offset,
    high_watermark: Offset,
) -> usize {
    let below_start =
        prefix(segments, high_watermark, |segment, is_active| !is_active && segment.end_offset <= log_start_offset);
    if !config.cleanup_policy.delete {
        return below_start;
    }
    let segments = segments.get(below_start..).unwrap_or_default();
    let by_size = breached_by_size(segments, config.retention_bytes, high_watermark);
    let segments = segments.get(by_size..).unwrap_or_default();
    let by_time = match config.retention_ms {
        ..0 => 0,
        retention_ms => {
            prefix(segments, high_watermark, |segment, _| now.saturating_sub(segment.largest_timestamp) > retention_ms)
        }
    };
    below_start + by_size + by_time
}

fn breached_by_size(segments: &[SegmentSummary], retention_bytes: i64, high_watermark: Offset) -> usize {
    let Ok(retention_bytes) = u64::try_from(retention_bytes) else { return 0 };
    let total: u64 = segments.iter().map(|segment| segment.size).sum();
    let Some(mut excess) = total.checked_sub(retention_bytes) else { return 0 };
    prefix(segments, high_watermark, |segment, _| match excess.checked_sub(segment.size) {
        Some(rest) => {
            excess = rest;
            true
        }
        None => false,
    })
}

fn prefix(
    segments: &[SegmentSummary],
    high_watermark: Offset,
    mut breaches: impl FnMut(&SegmentSummary, bool) -> bool,
) -> usize {
    let is_kept = |(index, segment): (usize, &SegmentSummary)| {
        let is_active = index + 1 == segments.len();
        let is_empty_active = is_active && segment.size == 0;
        !(segment.end_offset <= high_watermark && breaches(segment, is_active) && !is_empty_active)
    };
    segments.iter().enumerate().position(is_kept).unwrap_or(segments.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_config::CleanupPolicy;

    fn segments(of: &[(Offset, u64, Timestamp)]) -> Vec<SegmentSummary> {
        of.iter()
            .map(|&(end_offset, size, largest_timestamp)| SegmentSummary { end_offset, size, largest_timestamp })
            .collect()
    }

    const NO_LIMIT: LimitsFor = LimitsFor { retention_ms: -1, retention_bytes: -1 };
    #[derive(Clone, Copy)]
    struct LimitsFor {
        retention_ms: i64,
        retention_bytes: i64,
    }

    fn check(of: &[(Offset, u64, Timestamp)], limits: LimitsFor, start: Offset, high: Offset, expected: usize) {
        let config = LogConfig {
            retention_ms: limits.retention_ms,
            retention_bytes: limits.retention_bytes,
            ..LogConfig::default()
        };
        assert_eq!(deletable(&segments(of), &config, 1000, start, high), expected);
    }

    #[test]
    fn time_deletes_old_segments_and_even_the_active_one() {
        let limits = LimitsFor { retention_ms: 100, ..NO_LIMIT };
        check(&[(10, 5, 800), (20, 5, 899), (30, 5, 900)], limits, 0, 30, 2);
        check(&[(10, 5, 800), (20, 5, 899)], limits, 0, 20, 2);
        check(&[(10, 5, 800), (10, 0, 800)], limits, 0, 10, 1);
        check(&[(10, 5, 5000), (20, 5, 800)], limits, 0, 20, 0);
    }

    #[test]
    fn nothing_above_the_high_watermark_is_deleted() {
        let limits = LimitsFor { retention_ms: 0, ..NO_LIMIT };
        check(&[(10, 5, 1), (20, 5, 1), (30, 5, 1)], limits, 0, 19, 1);
    }

    #[test]
    fn size_deletes_while_the_rest_still_holds_the_limit() {
        let of = [(10, 5, 1), (20, 5, 1), (30, 5, 1)];
        check(&of, LimitsFor { retention_bytes: 10, ..NO_LIMIT }, 0, 30, 1);
        check(&of, LimitsFor { retention_bytes: 9, ..NO_LIMIT }, 0, 30, 1);
        check(&of, LimitsFor { retention_bytes: 5, ..NO_LIMIT }, 0, 30, 2);
        check(&of, LimitsFor { retention_bytes: 15, ..NO_LIMIT }, 0, 30, 0);
        check(&of, LimitsFor { retention_bytes: 16, ..NO_LIMIT }, 0, 30, 0);
    }

    #[test]
    fn segments_below_the_log_start_go_whatever_the_policy() {
        let config =
            LogConfig { cleanup_policy: CleanupPolicy { delete: false, compact: true }, ..LogConfig::default() };
        let of = segments(&[(10, 5, 1), (20, 5, 1), (30, 5, 1)]);
        assert_eq!(deletable(&of, &config, 1_000_000_000_000, 15, 30), 1);
        assert_eq!(deletable(&of, &config, 1_000_000_000_000, 30, 30), 2, "the active segment stays");
    }
}
