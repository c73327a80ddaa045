//! All scenarios, a file per API or tool.

mod api_versions;
mod cli;
mod cluster_apis;
pub(crate) mod configs;
mod disk;
mod fetch;
mod java_clients;
mod kcat;
mod metadata;
mod offsets;
mod old_apis;
mod old_clients;
mod old_fetch;
mod old_produce;
pub(crate) mod produce;
mod rdkafka_client;
mod restart;
mod retention;
mod security;
mod shippers;
mod topics;

use crate::{
    Outcome,
    cluster::{Config, Release},
    context::Context,
};

/// One thing to do to a cluster, and to compare what was seen.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// `<api or tool>/<what>`, unique.
    pub(crate) name: &'static str,
    /// Settings that its cluster has beside the usual ones; scenarios with equal settings share a cluster.
    pub(crate) config: Config,
    /// The Apache Kafka that it is compared with.
    pub(crate) reference: Release,
    /// It stops or fills its cluster, so that no other may share it.
    pub(crate) alone: bool,
    pub(crate) run: fn(&mut Context<'_>) -> Outcome,
}

/// A scenario on the shared cluster.
const fn shared(name: &'static str, run: fn(&mut Context<'_>) -> Outcome) -> Scenario {
    Scenario { name, config: &[], reference: Release::V4_3_1, alone: false, run }
}

/// A scenario on a shared cluster with these settings.
const fn with(name: &'static str, config: Config, run: fn(&mut Context<'_>) -> Outcome) -> Scenario {
    Scenario { name, config, reference: Release::V4_3_1, alone: false, run }
}

/// A scenario with a cluster of its own.
const fn alone(name: &'static str, config: Config, run: fn(&mut Context<'_>) -> Outcome) -> Scenario {
    Scenario { name, config, reference: Release::V4_3_1, alone: true, run }
}

/// Records of a time long ago are kept, however long the scenarios on one cluster take.
const KEEPS_ALL: Config = &[("log.retention.ms", "-1")];

/// A scenario on a shared cluster, about what Kafka 4 no longer serves.
const fn before_4(name: &'static str, run: fn(&mut Context<'_>) -> Outcome) -> Scenario {
    Scenario { name, config: KEEPS_ALL, reference: Release::V3_9_1, alone: false, run }
}

/// A scenario with a cluster of its own, about what Kafka 4 no longer serves.
const fn alone_before_4(name: &'static str, run: fn(&mut Context<'_>) -> Outcome) -> Scenario {
    Scenario { name, config: KEEPS_ALL, reference: Release::V3_9_1, alone: true, run }
}

/// Every scenario, in the order in which they run.
pub(crate) fn all() -> Vec<Scenario> {
    [
        api_versions::SCENARIOS,
        metadata::SCENARIOS,
        produce::SCENARIOS,
        fetch::SCENARIOS,
        offsets::SCENARIOS,
        topics::SCENARIOS,
        configs::SCENARIOS,
        cluster_apis::SCENARIOS,
        security::SCENARIOS,
        old_produce::SCENARIOS,
        old_fetch::SCENARIOS,
        old_apis::SCENARIOS,
        kcat::SCENARIOS,
        rdkafka_client::SCENARIOS,
        java_clients::SCENARIOS,
        old_clients::SCENARIOS,
        shippers::SCENARIOS,
        cli::SCENARIOS,
        retention::SCENARIOS,
        restart::SCENARIOS,
        disk::SCENARIOS,
    ]
    .concat()
}
