//! The controller as the broker uses it: start, submit, follow changes, stop, start again.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

use std::{path::Path, sync::Arc, time::Duration};

use kafka_protocol::messages::{
    AllocateProducerIdsRequest, BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, CreateTopicsRequest,
    TopicName, broker_registration_request::Feature, create_topics_request::CreatableTopic,
};
use kafka_protocol::protocol::StrBytes;
use milena_controller::{
    Controller, ControllerConfig, METADATA_DIRECTORY, NodeId, Operation, Response, StartError, SubmitError, Submitted,
};
use milena_storage::{
    disk::{Crash, Disk, Fault, OsDisk, SimDisk},
    env::{DiskJob, DiskThreads, Env, InlineThreads, ManualClock},
};
use tokio::time::Instant;
use uuid::Uuid;

const DIRECTORY: Uuid = Uuid::from_u128(0x00d1_0000);
const NOW: i64 = 1_000_000;

/// A thread for every job: the order must come from the log's own queue.
#[derive(Debug)]
struct ThreadPerJob;

impl DiskThreads for ThreadPerJob {
    fn run(&self, _log_dir: usize, job: DiskJob) {
        std::thread::spawn(job);
    }
}

fn env(disk_threads: impl DiskThreads + 'static) -> Env {
    Env { clock: Arc::new(ManualClock::new(NOW)), disk_threads: Arc::new(disk_threads), seed: 7 }
}

fn config(dir: &Path) -> ControllerConfig {
    ControllerConfig::new(1, DIRECTORY, "cluster", dir)
}

/// A disk in memory with a log dir on it.
fn sim_disk() -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn start(disk: &SimDisk) -> Controller {
    Controller::start(config(Path::new("/data")), Arc::new(disk.clone()), env(InlineThreads)).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn registration(incarnation: u128) -> Operation {
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(1))
        .with_incarnation_id(Uuid::from_u128(incarnation))
        .with_log_dirs(vec![DIRECTORY])
        .with_features(vec![feature("metadata.version", 7, 30), feature("eligible.leader.replicas.version", 0, 1)]);
    Operation::RegisterBroker { version: 4, request }
}

fn feature(name: &'static str, min: i16, max: i16) -> Feature {
    Feature::default()
        .with_name(StrBytes::from_static_str(name))
        .with_min_supported_version(min)
        .with_max_supported_version(max)
}

/// Registers an incarnation of broker 1 and returns its epoch.
async fn register(controller: &Controller, incarnation: u128) -> i64 {
    let submitted = controller.submit(registration(incarnation), soon()).await.unwrap();
    let Response::RegisterBroker(response) = submitted.response else { panic!("wrong answer") };
    assert_eq!(response.error_code, 0);
    response.broker_epoch
}

async fn unfence(controller: &Controller, epoch: i64) {
    let request = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_current_metadata_offset(controller.image().offset);
    // An error is seen by whoever looks for the broker afterwards.
    let _ = controller.submit(Operation::BrokerHeartbeat { version: 1, request }, soon()).await;
}

fn producer_ids(epoch: i64) -> Operation {
    let request = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1)).with_broker_epoch(epoch);
    Operation::AllocateProducerIds { version: 0, request }
}

fn first_producer_id(response: &Response) -> i64 {
    let Response::AllocateProducerIds(response) = response else { panic!("wrong answer") };
    assert_eq!(response.error_code, 0);
    response.producer_id_start.0
}

fn topic(name: &str) -> Operation {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from(name.to_owned())))
        .with_num_partitions(3)
        .with_replication_factor(1);
    Operation::CreateTopics { version: 7, request: CreateTopicsRequest::default().with_topics(vec![topic]) }
}

#[tokio::test]
async fn a_fresh_cluster_begins_with_its_features_finalized() {
    let controller = start(&sim_disk());
    register(&controller, 1).await;
    let features: Vec<_> = controller.image().features.iter().map(|(name, level)| (name.to_string(), level)).collect();
    assert_eq!(features, [("eligible.leader.replicas.version".to_owned(), 1), ("metadata.version".to_owned(), 30)]);
    controller.shutdown().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_an_orderly_stop() {
    let disk = sim_disk();
    let controller = start(&disk);
    let epoch = register(&controller, 1).await;
    unfence(&controller, epoch).await;
    let created = controller.submit(topic("orders"), soon()).await.unwrap();
    assert!(created.offset <= controller.image().offset);
    let before = controller.image();
    controller.shutdown().await;

    let controller = start(&disk);
    assert_eq!(controller.image().topics, before.topics, "known before the first election");
    assert_eq!(controller.image().brokers, before.brokers);
    assert!(register(&controller, 2).await > epoch, "a new incarnation has a greater epoch");
    assert!(controller.image().topics.by_name("orders").is_some());
    controller.shutdown().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_power_cut() {
    for seed in 0..20 {
        let disk = sim_disk();
        let controller = start(&disk);
        let epoch = register(&controller, 1).await;
        unfence(&controller, epoch).await;
        controller.submit(topic("orders"), soon()).await.unwrap();
        let before = controller.image();
        disk.crash(Crash::Power(seed));
        drop(controller);

        let controller = start(&disk);
        register(&controller, 1).await;
        assert_eq!(controller.image().topics, before.topics, "seed {seed}");
        assert!(controller.image().offset > before.offset);
        assert!(controller.quorum().leader_epoch > 1, "an epoch is never used twice");
        controller.shutdown().await;
    }
}

#[tokio::test]
async fn changes_come_in_order_and_none_is_lost() {
    let controller = start(&sim_disk());
    let epoch = register(&controller, 1).await;
    let mut changes = controller.changes();
    let mut latest = changes.start();
    assert_eq!(latest, controller.image());
    for _ in 0..50 {
        controller.submit(producer_ids(epoch), soon()).await.unwrap();
    }
    let target = controller.image();
    controller.shutdown().await;
    while let Some(change) = changes.next().await {
        assert!(change.delta.producer_ids);
        assert!(change.image.offset > latest.offset);
        assert_eq!(change.image.producer_ids.next_producer_id, latest.producer_ids.next_producer_id + 1000);
        latest = change.image;
    }
    assert_eq!(latest, target);
}

/// A broker waits for the offset of an answer in the changes it follows: an offset that no change carries would be waited for in vain.
#[tokio::test]
async fn a_subscriber_sees_every_offset_that_an_answer_can_name() {
    let disk = sim_disk();
    let controller = start(&disk);
    register(&controller, 1).await;
    controller.shutdown().await;

    let controller = start(&disk);
    let mut changes = controller.changes();
    let mut seen = changes.start().offset;
    // Refused, so it has no entry of its own: its offset is that of the new leader's first entry.
    let answered = controller.submit(producer_ids(-7), soon()).await.unwrap().offset;
    while seen < answered {
        let offset = changes.next().await.unwrap().image.offset;
        assert_eq!(offset, seen + 1);
        seen = offset;
    }
    controller.shutdown().await;
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_loses_nothing() {
    const UNREAD_MAX: usize = 1024;
    let controller = start(&sim_disk());
    let epoch = register(&controller, 1).await;
    let mut changes = controller.changes();
    for _ in 0..UNREAD_MAX {
        controller.submit(producer_ids(epoch), soon()).await.unwrap();
    }
    let mut held_up = std::pin::pin!(controller.submit(producer_ids(epoch), soon()));
    assert!(futures_util::poll!(&mut held_up).is_pending());
    for block in 1..=UNREAD_MAX as i64 {
        assert_eq!(changes.next().await.unwrap().image.producer_ids.next_producer_id, 1000 * block);
    }
    held_up.await.unwrap();
    assert_eq!(changes.next().await.unwrap().image, controller.image());
    controller.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_askers_at_once_get_answers_that_build_upon_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let controller = Controller::start(config(dir.path()), Arc::new(OsDisk), env(ThreadPerJob)).unwrap();
    let epoch = register(&controller, 1).await;
    let askers: Vec<_> = (0..300)
        .map(|_| {
            let controller = controller.clone();
            tokio::spawn(async move { controller.submit(producer_ids(epoch), soon()).await.unwrap() })
        })
        .collect();
    let mut firsts = Vec::new();
    for asker in askers {
        firsts.push(first_producer_id(&asker.await.unwrap().response));
    }
    firsts.sort_unstable();
    assert_eq!(firsts, (0..300).map(|block| block * 1000).collect::<Vec<_>>());
    controller.shutdown().await;
}

#[tokio::test]
async fn a_refusal_needs_no_entry_in_the_log() {
    let controller = start(&sim_disk());
    let epoch = register(&controller, 1).await;
    let offset = controller.image().offset;
    let submitted = controller.submit(producer_ids(epoch + 1), soon()).await.unwrap();
    let Response::AllocateProducerIds(response) = submitted.response else { panic!("wrong answer") };
    assert_eq!(response.error_code, 77, "STALE_BROKER_EPOCH");
    assert_eq!((submitted.offset, controller.image().offset), (offset, offset));
    controller.shutdown().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_changes_nothing() {
    let controller = start(&sim_disk());
    register(&controller, 1).await;
    let before = controller.image();
    assert_eq!(controller.submit(registration(2), Instant::now()).await, Err(SubmitError::TimedOut));
    assert!(controller.submit(producer_ids(0), soon()).await.is_ok());
    assert_eq!(controller.image(), before);
    controller.shutdown().await;
}

#[tokio::test]
async fn after_the_stop_nothing_is_answered_and_subscriptions_end() {
    let controller = start(&sim_disk());
    let mut changes = controller.changes();
    register(&controller, 1).await;
    controller.shutdown().await;
    controller.shutdown().await;
    assert_eq!(controller.submit(registration(1), soon()).await, Err(SubmitError::Stopped));
    while changes.next().await.is_some() {}
}

#[tokio::test]
async fn the_quorum_tells_offsets_and_members_as_they_are() {
    let controller = start(&sim_disk());
    register(&controller, 1).await;
    let member = NodeId { id: 1, directory_id: DIRECTORY };
    let quorum = controller.quorum();
    let end = controller.image().offset + 1;
    assert_eq!(quorum.leader, Some(member));
    assert_eq!(quorum.leader_epoch, 1);
    assert_eq!(quorum.high_watermark, end);
    assert_eq!(quorum.observers, []);
    let [voter] = quorum.voters[..] else { panic!("one voter: {:?}", quorum.voters) };
    assert_eq!((voter.node, voter.log_end_offset), (member, end));
    assert_eq!((voter.last_fetch_timestamp, voter.last_caught_up_timestamp), (NOW, NOW));
    controller.shutdown().await;
}

#[tokio::test]
async fn snapshots_keep_the_log_short_and_hold_everything() {
    let disk = sim_disk();
    let mut config = config(Path::new("/data"));
    config.snapshot_entries = 16;
    config.segment_bytes = 400;
    let start = || Controller::start(config.clone(), Arc::new(disk.clone()), env(InlineThreads)).unwrap();
    let controller = start();
    let epoch = register(&controller, 1).await;
    unfence(&controller, epoch).await;
    for index in 0..100 {
        controller.submit(topic(&format!("topic-{index}")), soon()).await.unwrap();
    }
    let before = controller.image();
    controller.shutdown().await;
    let files = disk.files();
    let snapshots = files.keys().filter(|path| path.extension().is_some_and(|extension| extension == "image")).count();
    assert_eq!(snapshots, 1, "{:?}", files.keys());
    assert!(!files.contains_key(&Path::new("/data").join(METADATA_DIRECTORY).join(format!("{:020}.frames", 0))));

    let controller = start();
    register(&controller, 1).await;
    let after = controller.image();
    assert_eq!(after.topics, before.topics);
    assert_eq!(after.features, before.features);
    assert!(after.offset > before.offset);
    controller.shutdown().await;
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_controller_and_says_so() {
    let disk = sim_disk();
    let controller = start(&disk);
    register(&controller, 1).await;
    disk.fail_after(0, Fault::Broken);
    let error = controller.submit(registration(2), soon()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Stopped | SubmitError::OutcomeUnknown), "{error}");
    let failure = controller.failed().await;
    assert!(!failure.reason.is_empty());
    assert_eq!(controller.submit(registration(3), soon()).await, Err(SubmitError::Stopped));
    controller.shutdown().await;
}

/// Creates topics until operation `fails_at` of the disk meets `fault`; returns those that were acknowledged.
async fn create_topics_until(disk: &SimDisk, fault: Fault, fails_at: u64) -> Vec<String> {
    disk.fail_after(fails_at, fault);
    let mut config = config(Path::new("/data"));
    config.snapshot_entries = 4;
    config.segment_bytes = 600;
    let mut acknowledged = Vec::new();
    let Ok(controller) = Controller::start(config, Arc::new(disk.clone()), env(InlineThreads)) else {
        return acknowledged;
    };
    if let Ok(Submitted { response: Response::RegisterBroker(response), .. }) =
        controller.submit(registration(1), soon()).await
    {
        unfence(&controller, response.broker_epoch).await;
    }
    for index in 0..8 {
        let name = format!("topic-{index}");
        let Ok(submitted) = controller.submit(topic(&name), soon()).await else { break };
        let Response::CreateTopics(response) = submitted.response else { panic!("wrong answer") };
        if response.topics.iter().all(|topic| topic.error_code == 0) {
            acknowledged.push(name);
        }
    }
    controller.shutdown().await;
    acknowledged
}

/// Every operation of the disk meets `fault` once, then `crash` follows and another life begins.
async fn loses_nothing(fault: Fault, crash: impl Fn(u64) -> Crash) {
    let disk = sim_disk();
    let before = disk.operations();
    assert_eq!(create_topics_until(&disk, fault, u64::MAX / 2).await.len(), 8);
    let operations = disk.operations() - before;
    for fails_at in 0..=operations {
        let disk = sim_disk();
        let acknowledged = create_topics_until(&disk, fault, fails_at).await;
        disk.crash(crash(fails_at));
        let controller = start(&disk);
        register(&controller, 2).await;
        let image = controller.image();
        for name in &acknowledged {
            assert!(image.topics.by_name(name).is_some(), "{name} is lost, {fault:?} at operation {fails_at}");
        }
        assert!(image.topics.iter().count() <= acknowledged.len() + 1, "invented, {fault:?} at operation {fails_at}");
        controller.shutdown().await;
    }
}

#[tokio::test]
async fn no_acknowledged_topic_is_lost_by_a_power_cut_at_any_operation_of_the_disk() {
    loses_nothing(Fault::Stop, Crash::Power).await;
}

#[tokio::test]
async fn no_acknowledged_topic_is_lost_by_an_error_of_any_operation_of_the_disk() {
    loses_nothing(Fault::Broken, |_| Crash::Process).await;
    loses_nothing(Fault::Broken, Crash::Power).await;
}

#[tokio::test]
async fn no_acknowledged_topic_is_lost_by_a_full_disk() {
    loses_nothing(Fault::Full, |_| Crash::Process).await;
}

#[test]
fn refuses_a_directory_with_the_metadata_of_an_apache_kafka_and_leaves_it_alone() {
    let disk = sim_disk();
    disk.create_dir_all(Path::new("/data/__cluster_metadata-0")).unwrap();
    let operations = disk.operations();
    let error =
        Controller::start(config(Path::new("/data")), Arc::new(disk.clone()), env(InlineThreads)).err().unwrap();
    assert!(matches!(error, StartError::KafkaMetadata { .. }), "{error}");
    assert_eq!(disk.operations(), operations);
}

#[tokio::test]
async fn refuses_the_metadata_log_of_another_member() {
    let disk = sim_disk();
    start(&disk).shutdown().await;
    let mut config = config(Path::new("/data"));
    config.directory_id = Uuid::from_u128(0x00d2_0000);
    let error = Controller::start(config, Arc::new(disk), env(InlineThreads)).err().unwrap();
    assert!(matches!(error, StartError::NotAMember { .. }), "{error}");
}

/// Not an assertion about time: run it with `--nocapture` to see how long a start takes.
#[tokio::test]
async fn a_restart_answers_its_first_request() {
    let dir = tempfile::tempdir().unwrap();
    for (life, incarnation) in ["first start", "restart", "restart after a restart"].into_iter().zip(1..) {
        let begin = std::time::Instant::now();
        let controller = Controller::start(config(dir.path()), Arc::new(OsDisk), env(InlineThreads)).unwrap();
        let started = begin.elapsed();
        let epoch = register(&controller, incarnation).await;
        let registered = begin.elapsed();
        unfence(&controller, epoch).await;
        println!("{life}: started {started:?}, registered {registered:?}, unfenced {:?}", begin.elapsed());
        assert!(controller.image().brokers.is_unfenced(1));
        controller.shutdown().await;
    }
}
