//! What was applied, published: the newest image for everybody, every change in order for those who subscribed.
//!
//! A subscriber's queue is bounded by [`CHANGES_MAX`]. A subscriber that falls so far behind stops the application of further entries (never the
//! heartbeats) until it goes on; nothing is lost and nothing is merged. So its task must not wait for a `submit` while it holds unread changes.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use milena_metadata::{MetadataDelta, MetadataImage};
use tokio::sync::{mpsc, watch};

use crate::log::frame::LogId;

/// Changes a subscriber may have unread.
const CHANGES_MAX: usize = 1024;

/// One applied entry of the log. One that holds no records (the first of a leader's term, a change of the quorum) moves the offset alone: whoever waits
/// for an offset sees every one of them.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it changed; empty if it holds no records.
    pub delta: Arc<MetadataDelta>,
    /// The metadata after it.
    pub image: Arc<MetadataImage>,
}

/// Every change after [`Changes::start`], in order, none lost. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Changes {
    start: Arc<MetadataImage>,
    receiver: mpsc::Receiver<Change>,
}

impl Changes {
    /// The metadata that the first change builds upon.
    pub fn start(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.start)
    }

    /// The next change; `None` once the controller has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Change> {
        self.receiver.recv().await
    }
}

/// Where the state machine publishes. One writer, many readers.
pub(crate) struct Published {
    image: ArcSwap<MetadataImage>,
    /// The last applied entry; moved once its change stands in every subscriber's queue.
    applied: watch::Sender<Option<LogId>>,
    subscribers: Mutex<Vec<mpsc::Sender<Change>>>,
}

impl Published {
    pub(crate) fn new(image: Arc<MetadataImage>) -> Self {
        Self { image: ArcSwap::new(image), applied: watch::Sender::new(None), subscribers: Mutex::default() }
    }

    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    pub(crate) fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.subscribe()
    }

    pub(crate) fn subscribe(&self) -> Changes {
        let (sender, receiver) = mpsc::channel(CHANGES_MAX);
        // Under the lock, so that no change falls between the image and the first one received.
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(sender);
        Changes { start: self.image(), receiver }
    }

    /// Publishes an image and what the entry `applied` changed to make it.
    pub(crate) async fn publish(&self, image: MetadataImage, delta: MetadataDelta, applied: LogId) {
        let change = Change { delta: Arc::new(delta), image: Arc::new(image) };
        let subscribers = {
            let subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            self.image.store(Arc::clone(&change.image));
            subscribers.clone()
        };
        for subscriber in subscribers {
            // An error says that the subscriber is gone; the next subscription removes it.
            let _ = subscriber.send(change.clone()).await;
        }
        self.applied.send_replace(Some(applied));
    }

    /// Ends every subscription.
    pub(crate) fn close(&self) {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
