//! How many bytes the requests and the answers of all connections may take together: the rules, without IO.
//!
//! What counts is what was received, not what was announced. A request larger than [`FREE_BYTES`] takes room in steps,
//! each about as large as what its peer has sent before, and holds it until it has been served. Who finds no room
//! stands in a queue and reads nothing meanwhile; the queue is served in its order.
//!
//! Half-received requests that wait for each other's room would stop everybody. So there are two kinds of room: the
//! pool, which is taken in steps, and the reserve, as large as the largest request, from which the head of the queue
//! gets all that it still needs at once. Whoever holds reserve never waits for room again: it ends, and the next in
//! the queue gets its turn.
//!
//! That leaves peers that do not go on. While somebody waits, whoever holds room must move [`PROGRESS_BYTES`] within
//! [`STALL`] or lose its connection; so must a peer that does not read its answers while somebody waits to be answered.
//! Time matters only while somebody waits: a slow peer of a broker that has room is left alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Activity;

/// What each connection may hold of a request without asking.
pub(crate) const FREE_BYTES: usize = 16 * 1024;
/// The most that is taken in one step from the pool.
const STEP_BYTES: usize = 1024 * 1024;
/// What must move within [`STALL`].
const PROGRESS_BYTES: u64 = 64 * 1024;
/// How long a peer that holds room may stand still while others wait.
const STALL: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) type SeatId = u64;

/// The room there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// For requests, taken in steps.
    pub pool: usize,
    /// For requests that are taken whole: at least as large as the largest request.
    pub reserve: usize,
    /// For the buffers that connections keep between two large requests.
    pub kept_buffers: usize,
    /// For answers that their clients have not taken yet. One that is being made may exceed it.
    pub answers: usize,
}

impl Room {
    /// No limit at all.
    pub const UNLIMITED: Self =
        Self { pool: usize::MAX, reserve: usize::MAX, kept_buffers: usize::MAX, answers: usize::MAX };

    /// Divides `queued_max` bytes of requests, none of which is larger than `request_max`. Where `queued_max` is less
    /// than two such requests, half of it stays a pool, and requests may take up to `request_max` beyond that half.
    pub fn of(queued_max: usize, request_max: usize) -> Self {
        Self {
            pool: queued_max.saturating_sub(request_max).max(queued_max / 2),
            reserve: request_max,
            kept_buffers: queued_max / 8,
            answers: queued_max / 2,
        }
    }
}

/// What a connection holds and waits for.
#[derive(Debug, Default)]
struct Seat {
    activity: Activity,
    pool_held: usize,
    reserve_held: usize,
    answers_held: usize,
    keeps_buffer: usize,
    /// Bytes that its request still needs, while it stands in the queue.
    wanted: Option<usize>,
    /// Given to it while it stood in the queue.
    granted: usize,
    /// Its request is at work, and time is not in its peer's hands.
    at_work: bool,
    /// Since when it has not moved, as far as anybody looked.
    mark: Option<(u64, Duration)>,
}

/// Who has which room.
#[derive(Debug)]
pub(crate) struct Budget {
    room: Room,
    pool_used: usize,
    reserve_used: usize,
    answers_used: usize,
    buffers_kept: usize,
    seats: BTreeMap<SeatId, Seat>,
    next_seat: SeatId,
    queue: VecDeque<SeatId>,
    /// How many wait until their request may be answered.
    unanswered: usize,
}

enum Grant {
    Pool(usize),
    Reserve(usize),
}

impl Budget {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            pool_used: 0,
            reserve_used: 0,
            answers_used: 0,
            buffers_kept: 0,
            seats: BTreeMap::new(),
            next_seat: 0,
            queue: VecDeque::new(),
            unanswered: 0,
        }
    }

    pub(crate) fn enter(&mut self, activity: Activity) -> SeatId {
        let id = self.next_seat;
        self.next_seat += 1;
        self.seats.insert(id, Seat { activity, ..Seat::default() });
        id
    }

    /// Gives back all that a connection holds. Returns who got room by it, as do the others.
    pub(crate) fn leave(&mut self, id: SeatId) -> Vec<SeatId> {
        let served = self.release(id);
        if let Some(seat) = self.seats.remove(&id) {
            self.buffers_kept -= seat.keeps_buffer;
            self.answers_used -= seat.answers_held;
        }
        served
    }

    /// Takes room for a request that still needs `remaining` bytes: how many of them may be received now, or `None` if
    /// it must wait. Asked again, it answers what has become of the first question.
    pub(crate) fn take(&mut self, id: SeatId, remaining: usize) -> Option<usize> {
        let seat = self.seats.get_mut(&id)?;
        if seat.granted > 0 {
            return Some(std::mem::take(&mut seat.granted));
        }
        if seat.wanted.is_some() {
            return None;
        }
        if self.queue.is_empty()
            && let Some(grant) = self.grant(id, remaining)
        {
            return Some(self.hold(id, &grant));
        }
        self.seats.get_mut(&id)?.wanted = Some(remaining);
        self.queue.push_back(id);
        None
    }

    fn grant(&self, id: SeatId, remaining: usize) -> Option<Grant> {
        let held = self.seats.get(&id)?.pool_held;
        let ample = remaining.min(STEP_BYTES);
        let step = if self.pool_used.saturating_add(ample) <= self.room.pool / 2 {
            ample
        } else {
            ample.min(held.max(FREE_BYTES))
        };
        if self.pool_used.saturating_add(step) <= self.room.pool {
            return Some(Grant::Pool(step));
        }
        (self.reserve_used.saturating_add(remaining) <= self.room.reserve).then_some(Grant::Reserve(remaining))
    }

    fn hold(&mut self, id: SeatId, grant: &Grant) -> usize {
        let seat = self.seats.get_mut(&id).expect("only who has a seat is granted room");
        match grant {
            Grant::Pool(bytes) => {
                seat.pool_held += bytes;
                self.pool_used += bytes;
                *bytes
            }
            Grant::Reserve(bytes) => {
                seat.reserve_held += bytes;
                self.reserve_used += bytes;
                *bytes
            }
        }
    }

    /// The request was served, or its connection ends.
    pub(crate) fn release(&mut self, id: SeatId) -> Vec<SeatId> {
        let Some(seat) = self.seats.get_mut(&id) else { return Vec::new() };
        self.pool_used -= std::mem::take(&mut seat.pool_held);
        self.reserve_used -= std::mem::take(&mut seat.reserve_held);
        seat.granted = 0;
        seat.at_work = false;
        seat.mark = None;
        if seat.wanted.take().is_some() {
            self.queue.retain(|waiting| *waiting != id);
        }
        self.serve_queue()
    }

    fn serve_queue(&mut self) -> Vec<SeatId> {
        let mut served = Vec::new();
        while let Some(&id) = self.queue.front() {
            let wanted = self.seats.get(&id).and_then(|seat| seat.wanted).unwrap_or_default();
            let Some(grant) = self.grant(id, wanted) else { break };
            let bytes = self.hold(id, &grant);
            self.queue.pop_front();
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.wanted = None;
                seat.granted = bytes;
                seat.mark = None;
            }
            served.push(id);
        }
        served
    }

    /// Its request is complete, and what it waits for from now on is not its peer.
    pub(crate) fn at_work(&mut self, id: SeatId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.at_work = true;
        }
    }

    /// Whether a connection may keep a buffer of `bytes` for its next request.
    pub(crate) fn keep_buffer(&mut self, id: SeatId, bytes: usize) -> bool {
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        let others = self.buffers_kept - seat.keeps_buffer;
        let keeps = others.saturating_add(bytes) <= self.room.kept_buffers && self.queue.is_empty();
        seat.keeps_buffer = if keeps { bytes } else { 0 };
        self.buffers_kept = others + seat.keeps_buffer;
        keeps
    }

    pub(crate) fn answers_are_full(&self) -> bool {
        self.answers_used >= self.room.answers
    }

    /// An answer of this connection is in memory; it leaves with [`answered`](Self::answered).
    pub(crate) fn answering(&mut self, id: SeatId, bytes: usize) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.answers_held += bytes;
            self.answers_used += bytes;
        }
    }

    pub(crate) fn answered(&mut self, id: SeatId, bytes: usize) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.answers_held -= bytes;
            self.answers_used -= bytes;
            seat.mark = None;
        }
    }

    pub(crate) fn wait_to_be_answered(&mut self) {
        self.unanswered += 1;
    }

    pub(crate) fn may_be_answered(&mut self) {
        self.unanswered -= 1;
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_short(&self) -> bool {
        !self.queue.is_empty() || self.unanswered > 0
    }

    /// Who stood still for too long while others waited: their connections end.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<SeatId> {
        let (requests_wait, answers_wait) = (!self.queue.is_empty(), self.unanswered > 0);
        let mut stalled = Vec::new();
        for (id, seat) in &mut self.seats {
            let holds_request = seat.pool_held + seat.reserve_held > 0 && !seat.at_work && seat.wanted.is_none();
            if !(requests_wait && holds_request || answers_wait && seat.answers_held > 0) {
                seat.mark = None;
                continue;
            }
            let moved = seat.activity.moved_bytes();
            match seat.mark {
                Some((before, since)) if moved - before < PROGRESS_BYTES => {
                    if now.saturating_sub(since) >= STALL {
                        stalled.push(*id);
                    }
                }
                _ => seat.mark = Some((moved, now)),
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;
    const LARGEST: usize = 100 * MIB;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends a request of `bytes` as fast as room is given; false if it must wait for more.
    fn send(budget: &mut Budget, id: SeatId, remaining: &mut usize) -> bool {
        while *remaining > 0 {
            let Some(step) = budget.take(id, *remaining) else { return false };
            assert!(step > 0 && step <= *remaining);
            *remaining -= step;
        }
        true
    }

    fn within(budget: &Budget) -> bool {
        budget.pool_used <= budget.room.pool && budget.reserve_used <= budget.room.reserve
    }

    #[test]
    fn the_pool_is_never_less_than_half_and_the_reserve_takes_the_largest_request() {
        assert_eq!(Room::of(400 * MIB, LARGEST).pool, 300 * MIB);
        assert_eq!(Room::of(128 * MIB, LARGEST).pool, 64 * MIB);
        assert_eq!(Room::of(128 * MIB, LARGEST).reserve, LARGEST);
    }

    #[test]
    fn an_announcement_buys_little() {
        let mut budget = Budget::new(Room::of(128 * MIB, LARGEST));
        for _ in 0..200 {
            let id = budget.enter(Activity::default());
            budget.take(id, LARGEST).unwrap();
        }
        assert!(budget.pool_used <= 36 * MIB, "{}", budget.pool_used);
        let honest = budget.enter(Activity::default());
        assert!(send(&mut budget, honest, &mut MIB.clone()));
    }

    /// Many requests that together are far larger than the room, all half received: each ends, and nobody is closed.
    #[test]
    fn requests_that_wait_for_each_others_room_all_end() {
        let mut budget = Budget::new(Room::of(128 * MIB, LARGEST));
        let mut open: BTreeMap<SeatId, usize> =
            (0..1000).map(|index| (budget.enter(Activity::default()), MIB + index * 4096)).collect();
        let mut rounds = 0;
        while !open.is_empty() {
            let mut ended = Vec::new();
            for (id, remaining) in &mut open {
                // One step a round, so that all of them are under way at once.
                if let Some(step) = budget.take(*id, *remaining) {
                    *remaining -= step;
                }
                if *remaining == 0 {
                    ended.push(*id);
                }
            }
            for id in ended {
                budget.release(id);
                open.remove(&id);
            }
            assert!(within(&budget));
            rounds += 1;
            assert!(rounds < 10_000, "{} requests stand still", open.len());
        }
        assert_eq!((budget.pool_used, budget.reserve_used), (0, 0));
        assert!(!budget.is_short());
    }

    #[test]
    fn who_stands_still_while_others_wait_loses_its_connection() {
        let mut budget = Budget::new(Room::of(128 * MIB, LARGEST));
        // Three peers send nearly all of 50, 100 and 14 MiB and then stop: no room is left of either kind.
        for (bytes, holds) in [(65 * MIB, 64 * MIB), (LARGEST, LARGEST)] {
            let id = budget.enter(Activity::default());
            let mut left = bytes;
            while left > bytes - holds && budget.pool_used < budget.room.pool {
                left -= budget.take(id, left).unwrap();
            }
            if left > 0 && budget.reserve_used == 0 {
                budget.take(id, left);
            }
        }
        let filler = budget.enter(Activity::default());
        while budget.reserve_used < budget.room.reserve {
            let rest = budget.room.reserve - budget.reserve_used;
            budget.take(filler, rest).unwrap();
        }
        let honest = budget.enter(Activity::default());
        assert_eq!(budget.take(honest, MIB), None);
        assert_eq!(budget.expire(seconds(100)), []);
        assert_eq!(budget.expire(seconds(104)), []);
        let stalled = budget.expire(seconds(105));
        assert!(!stalled.is_empty() && !stalled.contains(&honest));
        let mut served = Vec::new();
        for id in stalled {
            served.extend(budget.leave(id));
        }
        assert_eq!(served, [honest]);
        assert!(budget.take(honest, MIB).is_some());
    }

    #[test]
    fn a_peer_that_moves_and_a_request_at_work_are_left_alone() {
        let mut budget = Budget::new(Room { pool: MIB, reserve: MIB, kept_buffers: 0, answers: MIB });
        let (moving, working, waiting) = (Activity::default(), Activity::default(), Activity::default());
        let moving_id = budget.enter(moving.clone());
        let working_id = budget.enter(working);
        let waiting_id = budget.enter(waiting);
        assert!(send(&mut budget, moving_id, &mut MIB.clone()));
        assert!(send(&mut budget, working_id, &mut MIB.clone()));
        budget.at_work(working_id);
        assert_eq!(budget.take(waiting_id, MIB), None);
        for second in 0..60 {
            moving.note(PROGRESS_BYTES as usize);
            assert_eq!(budget.expire(seconds(second)), []);
        }
        assert_eq!(budget.expire(seconds(70)), [moving_id]);
    }

    #[test]
    fn time_counts_only_while_somebody_waits() {
        let mut budget = Budget::new(Room { pool: MIB, reserve: MIB, kept_buffers: 0, answers: MIB });
        let slow = budget.enter(Activity::default());
        budget.take(slow, MIB).unwrap();
        for second in 0..100 {
            assert_eq!(budget.expire(seconds(second)), []);
        }
        budget.answering(slow, 2 * MIB);
        assert!(budget.answers_are_full());
        budget.wait_to_be_answered();
        assert_eq!(budget.expire(seconds(100)), []);
        assert_eq!(budget.expire(seconds(105)), [slow]);
        budget.answered(slow, 2 * MIB);
        assert!(!budget.answers_are_full());
    }

    #[test]
    fn buffers_are_kept_while_there_is_room_for_them() {
        let mut budget = Budget::new(Room { pool: MIB, reserve: MIB, kept_buffers: 2 * MIB, answers: MIB });
        let seats: Vec<SeatId> = (0..3).map(|_| budget.enter(Activity::default())).collect();
        assert!(budget.keep_buffer(seats[0], MIB));
        assert!(budget.keep_buffer(seats[1], MIB));
        assert!(!budget.keep_buffer(seats[2], MIB));
        assert!(budget.keep_buffer(seats[1], MIB / 2));
        budget.leave(seats[0]);
        assert!(budget.keep_buffer(seats[2], MIB));
    }
}
