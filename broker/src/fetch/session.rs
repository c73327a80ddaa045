//! Fetch sessions (KIP-227): a consumer names its partitions once and afterwards only what changes.
//!
//! Pure: time is an argument, randomness a seeded field. Source: `FetchManager`, `FetchSession`, `FetchContext`.
//! A session is found by id and epoch, belongs to no connection, and is locked by nobody for longer than one call.
//! Partitions that returned data move to the tail, so that a small `max.bytes` reaches all of them in turn.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use milena_protocol::{LeaderEpoch, Offset, Timestamp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// The id of no session.
pub const NO_SESSION: i32 = 0;
/// Epoch of a request that starts a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that wants none, or ends the one it names.
pub const FINAL_EPOCH: i32 = -1;
/// Partitions of one session and of all of them. Each costs some 200 bytes for as long as its session lives, whether it exists
/// or not, and all of a session's are looked up for each request of a few bytes. Beyond that clients fetch without a session.
const PARTITIONS_MAX: usize = 1 << 16;
const PARTITIONS_OF_ALL_MAX: usize = 1 << 18;
/// No topic's name is longer.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// A slot may be taken from a session that was idle for this long.
const EVICTION_MS: Timestamp = 120_000;

/// A topic as the client named it: by name below v13, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicKey {
    /// The topic's name, shared by its partitions: a client may name thousands of them behind one name of 32 KiB.
    Name(Arc<str>),
    /// The topic's id.
    Id(Uuid),
}

impl Hash for TopicKey {
    /// Of a name that no topic can have only the beginning counts, so that a partition costs no more than its own bytes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            TopicKey::Name(name) => {
                let start = name.as_bytes();
                start.get(..TOPIC_NAME_BYTES_MAX).unwrap_or(start).hash(state);
            }
            TopicKey::Id(id) => id.hash(state),
        }
    }
}

/// What one partition of a fetch asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicKey,
    /// The partition's index.
    pub partition: i32,
    /// The client's view of the leader epoch, -1 to skip the check.
    pub current_leader_epoch: LeaderEpoch,
    /// First offset wanted.
    pub fetch_offset: Offset,
    /// Epoch of the last record the client has, -1 unknown.
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's log start offset, -1 for consumers.
    pub log_start_offset: Offset,
    /// `partition_max_bytes`
    pub max_bytes: i32,
}

/// What a response row says that a session remembers.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The row's error code.
    pub error_code: i16,
    /// Whether records go with it.
    pub has_records: bool,
    /// Whether a diverging epoch or a preferred replica goes with it: always worth a row.
    pub has_news: bool,
    /// The row's high watermark.
    pub high_watermark: Offset,
    /// The row's log start offset.
    pub log_start_offset: Offset,
}

/// How a request relates to its session; handed back to [`FetchSessions::finish`] with the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every row is answered and nothing is remembered.
    Sessionless,
    /// Every row is answered and a session is made if there is room.
    New {
        /// Partitions are named by id.
        by_id: bool,
        /// Followers may evict consumers, never the other way round.
        privileged: bool,
    },
    /// Only what changed is answered.
    Incremental {
        /// The session.
        session_id: i32,
    },
}

/// The numbers of a fetch request's session fields, and who asks.
#[derive(Debug, Clone, Copy)]
pub struct SessionRequest {
    /// `session_id`
    pub session_id: i32,
    /// `session_epoch`
    pub session_epoch: i32,
    /// Whether the version names topics by id.
    pub by_id: bool,
    /// Whether a follower asks.
    pub privileged: bool,
}

type Key = (TopicKey, i32);

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: Offset,
    log_start_offset: Offset,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    privileged: bool,
    created_ms: Timestamp,
    last_used_ms: Timestamp,
    /// Place in the answer's order of each partition.
    places: HashMap<Key, u64>,
    partitions: BTreeMap<u64, Cached>,
    next_place: u64,
}

impl Session {
    fn insert(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(cached) = self.places.get(&key).and_then(|place| self.partitions.get_mut(place)) {
            cached.wanted = wanted;
            return;
        }
        let cached = Cached { wanted, high_watermark: -1, log_start_offset: -1 };
        self.places.insert(key, self.next_place);
        self.partitions.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.partitions.remove(&place);
        }
    }

    fn move_to_tail(&mut self, key: &Key) {
        let next = self.next_place;
        let Some(place) = self.places.get_mut(key) else { return };
        if let Some(cached) = self.partitions.remove(place) {
            self.partitions.insert(next, cached);
            *place = next;
            self.next_place += 1;
        }
    }

    /// Remembers what a row says; true if an incremental answer must carry it.
    fn note(&mut self, key: &Key, sent: Sent) -> bool {
        let Some(cached) = self.places.get(key).and_then(|place| self.partitions.get_mut(place)) else { return true };
        let changed = cached.high_watermark != sent.high_watermark || cached.log_start_offset != sent.log_start_offset;
        // After an error the next good row is news in any case.
        cached.high_watermark = if sent.error_code == 0 { sent.high_watermark } else { -1 };
        cached.log_start_offset = sent.log_start_offset;
        sent.has_records || sent.has_news || sent.error_code != 0 || changed
    }
}

/// The cache of sessions, bounded by `max.incremental.fetch.session.cache.slots`.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    sessions: BTreeMap<i32, Session>,
    random: SmallRng,
}

impl FetchSessions {
    /// An empty cache.
    pub fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: BTreeMap::new(), random: SmallRng::seed_from_u64(seed) }
    }

    /// Turns a request into the full list of partitions to read.
    ///
    /// Errors: `FetchSessionIdNotFound`, `InvalidFetchSessionEpoch`, `FetchSessionTopicIdError`; the session stays.
    pub fn begin(
        &mut self,
        request: SessionRequest,
        wanted: Vec<Wanted>,
        forgotten: &[(TopicKey, i32)],
        now: Timestamp,
    ) -> Result<(Kind, Vec<Wanted>), ResponseError> {
        let SessionRequest { session_id, session_epoch, by_id, privileged } = request;
        if session_epoch == INITIAL_EPOCH || session_epoch == FINAL_EPOCH {
            if session_id != NO_SESSION {
                self.sessions.remove(&session_id);
            }
            let kind = if session_epoch == FINAL_EPOCH { Kind::Sessionless } else { Kind::New { by_id, privileged } };
            return Ok((kind, last_of_each(wanted)));
        }
        let room = PARTITIONS_OF_ALL_MAX.saturating_sub(self.partitions());
        let session = self.sessions.get_mut(&session_id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != session_epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        for partition in wanted {
            session.insert(partition);
        }
        for key in forgotten {
            session.remove(key);
        }
        let added = session.partitions.len().saturating_sub(before);
        if added > room || session.partitions.len() > PARTITIONS_MAX {
            // The client begins anew, with all that it wants in one request.
            self.sessions.remove(&session_id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&session_id);
            return Ok((Kind::Sessionless, Vec::new()));
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used_ms = now;
        let list = session.partitions.values().map(|cached| cached.wanted.clone()).collect();
        Ok((Kind::Incremental { session_id }, list))
    }

    /// Records what is about to be answered. Returns the session id for the answer and, row by row, whether the row
    /// goes into it.
    pub fn finish(&mut self, kind: Kind, rows: &[(Wanted, Sent)], now: Timestamp) -> (i32, Vec<bool>) {
        match kind {
            Kind::Sessionless => (NO_SESSION, vec![true; rows.len()]),
            Kind::New { by_id, privileged } => (self.create(by_id, privileged, rows, now), vec![true; rows.len()]),
            Kind::Incremental { session_id } => {
                // Evicted or closed meanwhile: the answer is still true, only the next one needs a new session.
                let Some(session) = self.sessions.get_mut(&session_id) else {
                    return (session_id, vec![true; rows.len()]);
                };
                let mut answered = Vec::with_capacity(rows.len());
                for (wanted, sent) in rows {
                    let key = (wanted.topic.clone(), wanted.partition);
                    answered.push(session.note(&key, *sent));
                    if sent.has_records {
                        session.move_to_tail(&key);
                    }
                }
                (session_id, answered)
            }
        }
    }

    fn create(&mut self, by_id: bool, privileged: bool, rows: &[(Wanted, Sent)], now: Timestamp) -> i32 {
        if !self.make_room(privileged, rows.len(), now) {
            return NO_SESSION;
        }
        let id = loop {
            let id = self.random.random_range(1..=i32::MAX);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            privileged,
            created_ms: now,
            last_used_ms: now,
            places: HashMap::new(),
            partitions: BTreeMap::new(),
            next_place: 0,
        };
        for (wanted, sent) in rows {
            let key = (wanted.topic.clone(), wanted.partition);
            session.insert(wanted.clone());
            session.note(&key, *sent);
        }
        self.sessions.insert(id, session);
        id
    }

    /// Kafka's eviction: an idle session goes first; else a larger one takes the place of a smaller one that had its
    /// time; followers are never displaced by consumers.
    fn make_room(&mut self, privileged: bool, size: usize, now: Timestamp) -> bool {
        let most = PARTITIONS_OF_ALL_MAX;
        while self.sessions.len() >= self.slots || self.partitions().saturating_add(size) > most {
            if size > PARTITIONS_MAX || !self.evict(privileged, size, now) {
                return false;
            }
        }
        size <= PARTITIONS_MAX
    }

    /// Partitions of all sessions.
    fn partitions(&self) -> usize {
        self.sessions.values().map(|session| session.partitions.len()).sum()
    }

    fn evict(&mut self, privileged: bool, size: usize, now: Timestamp) -> bool {
        let idle = self
            .sessions
            .iter()
            .filter(|(_, session)| now - session.last_used_ms > EVICTION_MS)
            .min_by_key(|(_, session)| session.last_used_ms)
            .map(|(id, _)| *id);
        let victim = idle.or_else(|| {
            self.sessions
                .iter()
                .filter(|(_, session)| now - session.created_ms > EVICTION_MS || (privileged && !session.privileged))
                .map(|(id, session)| ((session.privileged, session.partitions.len()), *id))
                .min()
                .filter(|(rank, _)| *rank < (privileged, size))
                .map(|(_, id)| id)
        });
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// A partition named twice counts once, with its last mention, in the place of its first.
fn last_of_each(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(wanted.len());
    let mut list: Vec<Wanted> = Vec::with_capacity(wanted.len());
    for partition in wanted {
        let key = (partition.topic.clone(), partition.partition);
        if let Some(&place) = places.get(&key) {
            list[place] = partition;
        } else {
            places.insert(key, list.len());
            list.push(partition);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32) -> Wanted {
        Wanted {
            topic: TopicKey::Name("t".into()),
            partition,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1 << 20,
        }
    }

    fn sent(high_watermark: Offset, has_records: bool) -> Sent {
        Sent { error_code: 0, has_records, has_news: false, high_watermark, log_start_offset: 0 }
    }

    fn request(session_id: i32, session_epoch: i32) -> SessionRequest {
        SessionRequest { session_id, session_epoch, by_id: false, privileged: false }
    }

    fn open(sessions: &mut FetchSessions, partitions: &[i32], now: Timestamp) -> i32 {
        let list = partitions.iter().copied().map(wanted).collect();
        let (kind, list) = sessions.begin(request(0, 0), list, &[], now).unwrap();
        let rows: Vec<_> = list.into_iter().map(|wanted| (wanted, sent(0, false))).collect();
        sessions.finish(kind, &rows, now).0
    }

    #[test]
    fn an_incremental_fetch_answers_only_what_changed() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = open(&mut sessions, &[0, 1, 2], 0);
        let (kind, list) = sessions.begin(request(id, 1), vec![], &[], 1).unwrap();
        let rows: Vec<_> = list
            .into_iter()
            .map(|wanted| {
                let hw = i64::from(wanted.partition == 1);
                (wanted, sent(hw, false))
            })
            .collect();
        assert_eq!(sessions.finish(kind, &rows, 1), (id, vec![false, true, false]));
    }

    #[test]
    fn an_error_is_sent_each_time_and_so_is_the_first_good_row_after_it() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = open(&mut sessions, &[0], 0);
        for (epoch, error_code, answered) in [(1, 3, true), (2, 3, true), (3, 0, true), (4, 0, false)] {
            let (kind, list) = sessions.begin(request(id, epoch), vec![], &[], 1).unwrap();
            let rows = [(list[0].clone(), Sent { error_code, ..sent(0, false) })];
            assert_eq!(sessions.finish(kind, &rows, 1).1, vec![answered], "epoch {epoch}");
        }
    }

    #[test]
    fn partitions_with_data_move_to_the_tail() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = open(&mut sessions, &[0, 1, 2], 0);
        let (kind, list) = sessions.begin(request(id, 1), vec![], &[], 1).unwrap();
        let rows: Vec<_> = list
            .into_iter()
            .map(|wanted| {
                let first = wanted.partition == 0;
                (wanted, sent(0, first))
            })
            .collect();
        sessions.finish(kind, &rows, 1);
        let (_, list) = sessions.begin(request(id, 2), vec![], &[], 2).unwrap();
        assert_eq!(list.iter().map(|wanted| wanted.partition).collect::<Vec<_>>(), [1, 2, 0]);
    }

    #[test]
    fn what_sessions_remember_is_bounded() {
        let mut sessions = FetchSessions::new(1000, 1);
        let many: Vec<i32> = (0..PARTITIONS_MAX as i32).collect();
        assert_eq!(open(&mut sessions, &(0..=PARTITIONS_MAX as i32).collect::<Vec<_>>(), 0), NO_SESSION);
        for _ in 0..3 {
            assert_ne!(open(&mut sessions, &many, 0), NO_SESSION);
        }
        // One that grows request by request.
        let id = open(&mut sessions, &many[1..], 0);
        sessions.begin(request(id, 1), vec![wanted(0)], &[], 1).unwrap();
        assert_eq!(sessions.partitions(), PARTITIONS_OF_ALL_MAX);
        assert_eq!(open(&mut sessions, &[0], 1), NO_SESSION);
        let refused = sessions.begin(request(id, 2), vec![wanted(-1)], &[], 1);
        assert_eq!(refused.unwrap_err(), ResponseError::FetchSessionIdNotFound);
        let next = open(&mut sessions, &[0], 1);
        assert_ne!(next, NO_SESSION);
        // Those that nobody uses make room.
        assert_ne!(open(&mut sessions, &many, EVICTION_MS + 2), NO_SESSION);
        assert!(sessions.partitions() <= PARTITIONS_OF_ALL_MAX);
    }

    #[test]
    fn refuses_what_kafka_refuses_and_keeps_the_session() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = open(&mut sessions, &[0], 0);
        let other = if id == 7 { 8 } else { 7 };
        let by_id = SessionRequest { by_id: true, ..request(id, 1) };
        for (asked, error) in [
            (request(other, 1), ResponseError::FetchSessionIdNotFound),
            (request(0, 3), ResponseError::FetchSessionIdNotFound),
            (request(id, 2), ResponseError::InvalidFetchSessionEpoch),
            (by_id, ResponseError::FetchSessionTopicIdError),
        ] {
            assert_eq!(sessions.begin(asked, vec![], &[], 1).unwrap_err(), error);
        }
        assert!(sessions.begin(request(id, 1), vec![], &[], 1).is_ok());
    }

    #[test]
    fn forgetting_the_last_partition_ends_the_session() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = open(&mut sessions, &[0], 0);
        let (kind, list) = sessions.begin(request(id, 1), vec![], &[(TopicKey::Name("t".into()), 0)], 1).unwrap();
        assert_eq!((kind, list), (Kind::Sessionless, vec![]));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_full_cache_gives_a_slot_only_for_an_idle_one() {
        let mut sessions = FetchSessions::new(1, 1);
        let first = open(&mut sessions, &[0], 0);
        assert_eq!(open(&mut sessions, &[0], EVICTION_MS), NO_SESSION);
        let second = open(&mut sessions, &[0], EVICTION_MS + 1);
        assert!(second != NO_SESSION && second != first && sessions.len() == 1);
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        assert_eq!(next_epoch(i32::MAX), 1);
    }
}
