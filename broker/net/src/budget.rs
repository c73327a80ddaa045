//! How many bytes the requests and the answers of all connections may take together: the rules, without IO.
//!
//! What counts is what was received, not what was announced. A request larger than [`FREE_BYTES`] takes room in steps,
//! each about as large as what its peer has sent before, and holds it until it has been served. Who finds no room
//! stands in a queue and reads nothing meanwhile; the queue is served in its order. Requests of more than
//! [`LARGE_BYTES`] have room and a queue of their own, so that others do not wait for them.
//!
//! Half-received requests that wait for each other's room would stop everybody. So there are two kinds of room: the
//! pool, which is taken in steps, and the reserve, as large as the largest request, from which the head of the queue
//! gets all that it still needs at once. Whoever holds reserve never waits for room again: it ends, and the next in
//! the queue gets its turn.
//!
//! That leaves peers that do not go on. While somebody waits, whoever holds room must move so fast that it would be
//! done within [`DONE_WITHIN`], or lose its connection; so must a peer that does not read its answers while somebody
//! waits to be answered. Time matters only while somebody waits: a slow peer of a broker that has room is left alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Activity;

/// What each connection may hold of a request without asking.
pub(crate) const FREE_BYTES: usize = 16 * 1024;
/// The most that is taken in one step from the pool.
const STEP_BYTES: usize = 1024 * 1024;
/// Larger requests keep to themselves: a producer's, by its defaults, is not larger.
const LARGE_BYTES: usize = 1024 * 1024;
/// For so long the pace of a peer is measured.
const MEASURED_OVER: Duration = Duration::from_secs(5);
/// At its pace, a peer that holds what others wait for must be done by then.
const DONE_WITHIN: u64 = 10;

/// One connection.
pub(crate) type SeatId = u64;

/// The room there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// For requests of up to 1 MiB, which must fit into its reserve.
    pub usual: RequestRoom,
    /// For larger requests, the largest of which must fit into its reserve.
    pub large: RequestRoom,
    /// For the buffers that connections keep between two large requests.
    pub kept_buffers: usize,
    /// For answers that their clients have not taken yet. One that is being made may exceed it.
    pub answers: usize,
}

/// Room for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRoom {
    /// Taken in steps.
    pub pool: usize,
    /// Taken for all that a request still needs.
    pub reserve: usize,
}

impl Room {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        usual: RequestRoom { pool: usize::MAX, reserve: usize::MAX },
        large: RequestRoom { pool: usize::MAX, reserve: usize::MAX },
        kept_buffers: usize::MAX,
        answers: usize::MAX,
    };

    /// Divides `queued_max` bytes of requests, none of which is larger than `request_max`. Where `queued_max` is less
    /// than two such requests, half of it remains beside the reserve for one of them.
    pub fn of(queued_max: usize, request_max: usize) -> Self {
        let half = queued_max.saturating_sub(request_max).max(queued_max / 2) / 2;
        let reserve = (half / 4).max(LARGE_BYTES);
        Self {
            usual: RequestRoom { pool: half.saturating_sub(reserve), reserve },
            large: RequestRoom { pool: half, reserve: request_max },
            kept_buffers: queued_max / 8,
            answers: queued_max / 2,
        }
    }
}

/// Which room a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lane {
    #[default]
    Usual,
    Large,
}

/// Room for requests and who waits for it.
#[derive(Debug)]
struct Requests {
    room: RequestRoom,
    pool_used: usize,
    reserve_used: usize,
    queue: VecDeque<SeatId>,
}

impl Requests {
    fn new(room: RequestRoom) -> Self {
        Self { room, pool_used: 0, reserve_used: 0, queue: VecDeque::new() }
    }

    fn grant(&self, held: usize, remaining: usize) -> Option<Grant> {
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
}

/// What a connection holds and waits for.
#[derive(Debug, Default)]
struct Seat {
    activity: Activity,
    lane: Lane,
    pool_held: usize,
    reserve_held: usize,
    answers_held: usize,
    keeps_buffer: usize,
    /// Bytes that its request still needs, while it stands in the queue.
    wanted: Option<usize>,
    /// Given to it while it stood in the queue.
    granted: usize,
    /// What its request needed when it last asked, and what had moved by then.
    needed: (usize, u64),
    /// Its request is at work, and time is not in its peer's hands.
    at_work: bool,
    /// Since when it has not moved, as far as anybody looked.
    mark: Option<(u64, Duration)>,
}

/// Who has which room.
#[derive(Debug)]
pub(crate) struct Budget {
    room: Room,
    usual: Requests,
    large: Requests,
    answers_used: usize,
    buffers_kept: usize,
    seats: BTreeMap<SeatId, Seat>,
    next_seat: SeatId,
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
            usual: Requests::new(room.usual),
            large: Requests::new(room.large),
            answers_used: 0,
            buffers_kept: 0,
            seats: BTreeMap::new(),
            next_seat: 0,
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

    fn requests(&mut self, lane: Lane) -> &mut Requests {
        match lane {
            Lane::Usual => &mut self.usual,
            Lane::Large => &mut self.large,
        }
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
        if seat.pool_held + seat.reserve_held == 0 {
            seat.lane = if remaining > LARGE_BYTES { Lane::Large } else { Lane::Usual };
        }
        seat.needed = (remaining, seat.activity.moved_bytes());
        let (lane, held) = (seat.lane, seat.pool_held);
        let requests = self.requests(lane);
        if requests.queue.is_empty()
            && let Some(grant) = requests.grant(held, remaining)
        {
            return Some(self.hold(id, &grant));
        }
        requests.queue.push_back(id);
        self.seats.get_mut(&id)?.wanted = Some(remaining);
        None
    }

    fn hold(&mut self, id: SeatId, grant: &Grant) -> usize {
        let seat = self.seats.get_mut(&id).expect("only who has a seat is granted room");
        let requests = if seat.lane == Lane::Usual { &mut self.usual } else { &mut self.large };
        match grant {
            Grant::Pool(bytes) => {
                seat.pool_held += bytes;
                requests.pool_used += bytes;
                *bytes
            }
            Grant::Reserve(bytes) => {
                seat.reserve_held += bytes;
                requests.reserve_used += bytes;
                *bytes
            }
        }
    }

    /// The request was served, or its connection ends.
    pub(crate) fn release(&mut self, id: SeatId) -> Vec<SeatId> {
        let Some(seat) = self.seats.get_mut(&id) else { return Vec::new() };
        let lane = seat.lane;
        let requests = if lane == Lane::Usual { &mut self.usual } else { &mut self.large };
        requests.pool_used -= std::mem::take(&mut seat.pool_held);
        requests.reserve_used -= std::mem::take(&mut seat.reserve_held);
        if seat.wanted.take().is_some() {
            requests.queue.retain(|waiting| *waiting != id);
        }
        seat.granted = 0;
        seat.at_work = false;
        seat.mark = None;
        self.serve_queue(lane)
    }

    fn serve_queue(&mut self, lane: Lane) -> Vec<SeatId> {
        let mut served = Vec::new();
        while let Some(&id) = self.requests(lane).queue.front() {
            let seat = self.seats.get(&id);
            let (held, wanted) = seat.map_or((0, 0), |seat| (seat.pool_held, seat.wanted.unwrap_or_default()));
            let Some(grant) = self.requests(lane).grant(held, wanted) else { break };
            let bytes = self.hold(id, &grant);
            self.requests(lane).queue.pop_front();
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
        let keeps = others.saturating_add(bytes) <= self.room.kept_buffers;
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
        !self.usual.queue.is_empty() || !self.large.queue.is_empty() || self.unanswered > 0
    }

    /// Who is too slow while others wait: their connections end.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<SeatId> {
        let (usual, large) = (!self.usual.queue.is_empty(), !self.large.queue.is_empty());
        let mut slow = Vec::new();
        for (id, seat) in &mut self.seats {
            let others_wait = if seat.lane == Lane::Usual { usual } else { large };
            let receives = seat.pool_held + seat.reserve_held > 0 && !seat.at_work && seat.wanted.is_none();
            let moved = seat.activity.moved_bytes();
            let left = if others_wait && receives {
                let (needed, before) = seat.needed;
                (needed as u64).saturating_sub(moved - before)
            } else if self.unanswered > 0 && seat.answers_held > 0 {
                seat.answers_held as u64
            } else {
                seat.mark = None;
                continue;
            };
            match seat.mark {
                Some((_, since)) if now.saturating_sub(since) < MEASURED_OVER => {}
                // A request that is complete moves nothing: it waits, and may wait for long.
                Some((before, _)) if left >= (moved - before) * DONE_WITHIN / MEASURED_OVER.as_secs() => slow.push(*id),
                _ => seat.mark = Some((moved, now)),
            }
        }
        slow
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

    fn small_room() -> Room {
        let requests = RequestRoom { pool: MIB, reserve: MIB };
        Room { usual: requests, large: requests, kept_buffers: 2 * MIB, answers: MIB }
    }

    /// Takes room for all of a request; false if it must wait.
    fn send(budget: &mut Budget, id: SeatId, mut remaining: usize) -> bool {
        while remaining > 0 {
            let Some(step) = budget.take(id, remaining) else { return false };
            assert!(step > 0 && step <= remaining);
            remaining -= step;
        }
        true
    }

    fn within(requests: &Requests) -> bool {
        requests.pool_used <= requests.room.pool && requests.reserve_used <= requests.room.reserve
    }

    #[test]
    fn the_largest_request_fits_whatever_the_limit() {
        for queued_max in [LARGEST, 128 * MIB, 400 * MIB] {
            let Room { usual, large, .. } = Room::of(queued_max, LARGEST);
            assert_eq!(large.reserve, LARGEST);
            assert!(usual.reserve >= LARGE_BYTES);
            let all = usual.pool + usual.reserve + large.pool + large.reserve;
            assert!(all <= queued_max.max(queued_max / 2 + LARGEST), "{queued_max}: {all}");
        }
    }

    #[test]
    fn an_announcement_buys_little() {
        let mut budget = Budget::new(Room::of(128 * MIB, LARGEST));
        for _ in 0..200 {
            let id = budget.enter(Activity::default());
            budget.take(id, LARGEST).unwrap();
        }
        assert!(budget.large.pool_used <= 20 * MIB, "{}", budget.large.pool_used);
        let honest = budget.enter(Activity::default());
        assert!(send(&mut budget, honest, MIB));
    }

    /// Many requests that together are far larger than the room, all half received: each ends, and nobody is closed.
    #[test]
    fn requests_that_wait_for_each_others_room_all_end() {
        let mut budget = Budget::new(Room::of(128 * MIB, LARGEST));
        let size = |index: usize| if index.is_multiple_of(10) { 10 * MIB } else { MIB - index * 512 };
        let mut open: BTreeMap<SeatId, usize> =
            (0..1000).map(|index| (budget.enter(Activity::default()), size(index))).collect();
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
            assert!(within(&budget.usual) && within(&budget.large));
            rounds += 1;
            assert!(rounds < 10_000, "{} requests stand still", open.len());
        }
        let used = |requests: &Requests| requests.pool_used + requests.reserve_used;
        assert_eq!((used(&budget.usual), used(&budget.large)), (0, 0));
        assert!(!budget.is_short());
    }

    #[test]
    fn nobody_waits_for_larger_requests() {
        let mut budget = Budget::new(small_room());
        let holders: Vec<SeatId> = (0..3).map(|_| budget.enter(Activity::default())).collect();
        assert!(send(&mut budget, holders[0], MIB + 1));
        assert!(!send(&mut budget, holders[1], 2 * MIB));
        assert!(send(&mut budget, holders[2], MIB));
    }

    #[test]
    fn who_stands_still_while_others_wait_loses_its_connection() {
        let mut budget = Budget::new(small_room());
        let stalled: Vec<SeatId> = (0..2).map(|_| budget.enter(Activity::default())).collect();
        let honest = budget.enter(Activity::default());
        assert!(send(&mut budget, stalled[0], MIB));
        assert!(send(&mut budget, stalled[1], MIB));
        assert_eq!(budget.take(honest, MIB), None);
        assert_eq!(budget.expire(seconds(100)), []);
        assert_eq!(budget.expire(seconds(104)), []);
        assert_eq!(budget.expire(seconds(105)), stalled);
        assert_eq!(budget.leave(stalled[0]), [honest]);
        assert_eq!(budget.leave(stalled[1]), []);
        assert!(budget.take(honest, MIB).is_some());
    }

    #[test]
    fn a_peer_that_is_fast_enough_and_a_request_at_work_are_left_alone() {
        let mut budget = Budget::new(small_room());
        let moving = Activity::default();
        let (moving_id, working_id) = (budget.enter(moving.clone()), budget.enter(Activity::default()));
        let waiting_id = budget.enter(Activity::default());
        assert!(send(&mut budget, moving_id, MIB));
        assert!(send(&mut budget, working_id, MIB));
        budget.at_work(working_id);
        assert_eq!(budget.take(waiting_id, MIB), None);
        for second in 0..8 {
            assert_eq!(budget.expire(seconds(second)), []);
            moving.note(MIB / 8);
        }
        // It is complete, but whoever it waits for now does not come.
        assert_eq!(budget.expire(seconds(11)), []);
        assert_eq!(budget.expire(seconds(16)), [moving_id]);
    }

    #[test]
    fn time_counts_only_while_somebody_waits() {
        let mut budget = Budget::new(small_room());
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
        let mut budget = Budget::new(small_room());
        let seats: Vec<SeatId> = (0..3).map(|_| budget.enter(Activity::default())).collect();
        assert!(budget.keep_buffer(seats[0], MIB));
        assert!(budget.keep_buffer(seats[1], MIB));
        assert!(!budget.keep_buffer(seats[2], MIB));
        assert!(budget.keep_buffer(seats[1], MIB / 2));
        budget.leave(seats[0]);
        assert!(budget.keep_buffer(seats[2], MIB));
    }
}
