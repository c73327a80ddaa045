//! Whether a log dir serves. Any of its partitions may be the first to find out that it does not; with the last log dir
//! the broker ends, and with the one that holds the metadata log, as in Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

/// Which log dirs serve, all told.
#[derive(Debug, Clone, Default)]
struct State {
    online: usize,
    /// Why the broker cannot go on.
    lost: Option<String>,
}

/// The log dirs together: who waits for a failure waits here.
#[derive(Debug, Clone)]
pub struct Online {
    state: watch::Sender<State>,
    room_wanted: Arc<Notify>,
}

impl Online {
    /// So many of them serve at first.
    pub fn new(log_dirs: usize) -> Self {
        let state = watch::Sender::new(State { online: log_dirs, lost: None });
        Self { state, room_wanted: Arc::default() }
    }

    /// Waits until the broker cannot go on, and says why. Cancel-safe.
    pub async fn lost(&self) -> String {
        let mut state = self.state.subscribe();
        // The sender lives as long as we do, so waiting cannot fail.
        let lost = state.wait_for(|state| state.lost.is_some()).await;
        lost.ok().and_then(|state| state.lost.clone()).unwrap_or_default()
    }

    /// Tells of every failure from now on.
    pub fn failures(&self) -> Failures {
        Failures(self.state.subscribe())
    }

    /// Waits until an append finds no room. Cancel-safe.
    pub async fn room_wanted(&self) {
        self.room_wanted.notified().await;
    }
}

/// See [`Online::failures`].
#[derive(Debug)]
pub struct Failures(watch::Receiver<State>);

impl Failures {
    /// Waits for the next failure. Cancel-safe.
    pub async fn next(&mut self) {
        // The sender lives in each log dir's health, and with it whoever waits here.
        let _ = self.0.changed().await;
    }
}

/// The state of one log dir, shared with its partitions.
#[derive(Debug)]
pub struct Health {
    failed: AtomicBool,
    /// The last append found no room.
    full: AtomicBool,
    online: Online,
    /// Why the broker cannot go on without this one.
    needed: Option<String>,
}

impl Health {
    /// A log dir that serves, one of those counted by `online`. `needed`: what to say when the broker ends with it.
    pub fn new(online: &Online, needed: Option<String>) -> Self {
        Self { failed: AtomicBool::new(false), full: AtomicBool::new(false), online: online.clone(), needed }
    }

    /// A log dir that could not be used at the start, and is not counted.
    pub fn unusable(online: &Online) -> Self {
        Self { failed: AtomicBool::new(true), full: AtomicBool::new(false), online: online.clone(), needed: None }
    }

    /// Whether its disk has failed.
    pub fn is_offline(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether the last append found no room. Reads and deletions go on, and so do appends when there is some.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// An append found no room: retention is asked to make some. True for the first who says so.
    pub fn note_full(&self) -> bool {
        self.online.room_wanted.notify_one();
        !self.full.swap(true, Ordering::Relaxed)
    }

    /// An append found room. True for the first one after [`Health::note_full`].
    pub fn note_room(&self) -> bool {
        self.is_full() && self.full.swap(false, Ordering::Relaxed)
    }

    /// Its disk has failed, and is not tried again. True for the first who says so.
    pub fn fail(&self) -> bool {
        let is_first = !self.failed.swap(true, Ordering::AcqRel);
        if is_first {
            self.online.state.send_modify(|state| {
                state.online -= 1;
                if state.online == 0 {
                    state.lost = Some("all log dirs have failed".to_owned());
                } else if state.lost.is_none() {
                    state.lost.clone_from(&self.needed);
                }
            });
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(online: &Online) -> Option<String> {
        online.state.borrow().lost.clone()
    }

    #[test]
    fn a_broker_goes_on_until_its_last_log_dir_or_the_one_it_needs() {
        let online = Online::new(3);
        let [one, other, needed] = [None, None, Some("it")].map(|why| Health::new(&online, why.map(str::to_owned)));
        assert!(one.fail());
        assert!(!one.fail(), "it fails once");
        assert_eq!(lost(&online), None);
        needed.fail();
        assert_eq!(lost(&online).as_deref(), Some("it"));
        other.fail();
        assert_eq!(lost(&online).as_deref(), Some("all log dirs have failed"));
    }
}
