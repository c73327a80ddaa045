//! The controller as the broker uses it: start, submit, follow changes, stop, start again.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{BrokerId, BrokerRegistrationRequest};
use milena_controller::{Controller, ControllerConfig, Operation, Response};
use milena_storage::{
    disk::OsDisk,
    env::{Env, InlineThreads, ManualClock},
};
use uuid::Uuid;

const DIRECTORY: Uuid = Uuid::from_u128(0x00d1);

fn env() -> Env {
    Env { clock: Arc::new(ManualClock::new(1_000)), disk_threads: Arc::new(InlineThreads), seed: 7 }
}

fn config(dir: &Path) -> ControllerConfig {
    ControllerConfig::new(1, DIRECTORY, "cluster", dir)
}

fn start(dir: &Path) -> Controller {
    Controller::start(config(dir), Arc::new(OsDisk), env()).unwrap()
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(30)
}

fn register() -> Operation {
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(1))
        .with_incarnation_id(Uuid::from_u128(9))
        .with_log_dirs(vec![DIRECTORY]);
    Operation::RegisterBroker { version: 4, request }
}

async fn broker_epoch(controller: &Controller) -> i64 {
    let submitted = controller.submit(register(), soon()).await.unwrap();
    let Response::RegisterBroker(response) = submitted.response else { panic!("wrong answer") };
    assert_eq!(response.error_code, 0);
    response.broker_epoch
}

#[tokio::test]
async fn prints_the_time_to_the_first_applied_image() {
    let dir = tempfile::tempdir().unwrap();
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmRSS") || l.starts_with("RssAnon"))
            .collect::<String>()
    );
    for life in ["first start", "restart", "restart"] {
        let begin = Instant::now();
        let controller = start(dir.path());
        let started = begin.elapsed();
        broker_epoch(&controller).await;
        println!("{life}: start returned after {started:?}, broker registered after {:?}", begin.elapsed());
        let begin = Instant::now();
        controller.shutdown().await;
        println!("shutdown took {:?}", begin.elapsed());
        println!(
            "{}",
            std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .lines()
                .filter(|l| l.starts_with("VmRSS") || l.starts_with("RssAnon"))
                .collect::<String>()
        );
    }
}
