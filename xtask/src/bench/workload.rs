//! The workloads as data: what a topic looks like, what the client does with it, and which figures are read from it.
//!
//! The ids are those of the published plan: W1 bulk produce, W3 default batches, W4 one message a request, W6 reading
//! back what is in memory, W8 latency at a fixed load, W24 the same with every message on stable storage. W17 (idle)
//! and W18 (start) need no client and live in `still`.

use crate::shell::Outcome;

/// One thing the client does, and what is read from it.
pub(crate) struct Workload {
    /// What `--only` names and tables show.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) partitions: i32,
    /// Topic configs beside the defaults.
    pub(crate) topic: &'static [(&'static str, &'static str)],
    pub(crate) job: Job,
    pub(crate) figure: Figure,
}

/// What the client does.
pub(crate) enum Job {
    /// Appends `messages` (or `quick_messages` in a smoke run) of `message_bytes` each.
    Produce {
        message_bytes: u64,
        messages: u64,
        quick_messages: u64,
        /// Messages per second; as fast as possible if none.
        rate: Option<u64>,
        acks: &'static str,
        settings: &'static [(&'static str, &'static str)],
    },
    /// Reads what the workload of this id wrote in the same round, from its beginning to its end.
    ReadBack { of: &'static str },
}

/// What the broker's CPU time is divided by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Payload, in units of 1e9 bytes.
    PerGigabyte,
    /// Requests; the client's own count.
    PerRequest,
    /// Requests, and the client's latencies besides.
    Latency,
}

const BULK: &[(&str, &str)] = &[("batch.size", "1000000"), ("linger.ms", "5")];
const ONE_MESSAGE_A_REQUEST: &[(&str, &str)] = &[("linger.ms", "0"), ("batch.num.messages", "1")];
const NO_LINGER: &[(&str, &str)] = &[("linger.ms", "0")];

/// All workloads with a client, in the order of a round.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        id: "W1",
        title: "produce, 1 KB messages, batches of 1 MB, acks=1, 1 partition",
        partitions: 1,
        topic: &[],
        job: Job::Produce {
            message_bytes: 1000,
            messages: 3_000_000,
            quick_messages: 200_000,
            rate: None,
            acks: "1",
            settings: BULK,
        },
        figure: Figure::PerGigabyte,
    },
    Workload {
        id: "W1/16",
        title: "the same over 16 partitions, acks=all",
        partitions: 16,
        topic: &[],
        job: Job::Produce {
            message_bytes: 1000,
            messages: 2_000_000,
            quick_messages: 200_000,
            rate: None,
            acks: "-1",
            settings: BULK,
        },
        figure: Figure::PerGigabyte,
    },
    Workload {
        id: "W3",
        title: "produce, 1 KB messages, batches of 16 KB",
        partitions: 1,
        topic: &[],
        job: Job::Produce {
            message_bytes: 1000,
            messages: 1_000_000,
            quick_messages: 200_000,
            rate: None,
            acks: "1",
            settings: &[("batch.size", "16384"), ("linger.ms", "1")],
        },
        figure: Figure::PerRequest,
    },
    Workload {
        id: "W4",
        title: "produce, one message of 100 B a request, 1 connection",
        partitions: 1,
        topic: &[],
        job: Job::Produce {
            message_bytes: 100,
            messages: 200_000,
            quick_messages: 40_000,
            rate: None,
            acks: "1",
            settings: ONE_MESSAGE_A_REQUEST,
        },
        figure: Figure::PerRequest,
    },
    Workload {
        id: "W6",
        title: "read back what W1 wrote, page cache hot",
        partitions: 1,
        topic: &[],
        job: Job::ReadBack { of: "W1" },
        figure: Figure::PerGigabyte,
    },
    Workload {
        id: "W8",
        title: "1,000 messages of 100 B a second, acks=1, no linger",
        partitions: 1,
        topic: &[],
        job: Job::Produce {
            message_bytes: 100,
            messages: 11_000,
            quick_messages: 2_000,
            rate: Some(1000),
            acks: "1",
            settings: NO_LINGER,
        },
        figure: Figure::Latency,
    },
    Workload {
        id: "W24",
        title: "W8 on a topic with flush.messages=1",
        partitions: 1,
        topic: &[("flush.messages", "1")],
        job: Job::Produce {
            message_bytes: 100,
            messages: 11_000,
            quick_messages: 2_000,
            rate: Some(1000),
            acks: "1",
            settings: NO_LINGER,
        },
        figure: Figure::Latency,
    },
];

/// The workload of this id.
pub(crate) fn named(id: &str) -> Outcome<&'static Workload> {
    ALL.iter().find(|workload| workload.id == id).ok_or_else(|| format!("no workload {id}").into())
}
