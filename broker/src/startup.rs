//! Starting: the parts in order, each with what the ones before made.
//!
//! Ports are bound first, so that a port in use leaves every directory untouched; connections are accepted last, when
//! this broker leads what the metadata says.

mod log_dirs;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::broker_registration_request::{Feature, Listener};
use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest};
use kafka_protocol::protocol::StrBytes;
use milena_controller::{Changes, Controller, ControllerConfig, SubmitError};
use milena_metadata::decide::{Operation, Response};
use milena_metadata::image::MetadataImage;
use milena_metadata::topic_config::{Layers, TopicConfigs};
use milena_net::listener::{ListenerError, SocketOptions};
use milena_storage::disk::Disk;
use milena_storage::env::Env;
use milena_storage::error::DiskError;
use milena_storage::{Descriptors, LogConfig, LogDirError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Broker;
use crate::config::{self, Advertised, Bind, LiveConfig, ServerConfig};
use crate::descriptors;
use crate::fetch::convert::Conversions;
use crate::fetch::session::FetchSessions;
use crate::logging::lifecycle;
use crate::maintenance::reports;
use crate::node::{Node, ProducerIds};
use crate::replica::directories::Directories;
use crate::replica::{Replicas, TopicSettings};
use crate::server::{self, BoundListener};

/// How long requests under way may take to end at a shutdown.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the controller may take to accept this broker.
const REGISTRATION_TIMEOUT: Duration = Duration::from_mins(1);
/// How often what waits for room on a disk is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of sealed segments' indexes that stay in memory.
const INDEX_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Why a broker does not start. One clear line each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// A log dir cannot be used.
    #[error(transparent)]
    LogDir(#[from] LogDirError),
    /// A disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `meta.properties` belongs to another node.
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {dir}/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories."
    )]
    NodeId {
        /// In the file.
        found: i32,
        /// Configured.
        expected: i32,
        /// The log dir.
        dir: String,
    },
    /// `meta.properties` belongs to another cluster.
    #[error("Invalid cluster.id in: {dir}/meta.properties. Expected {expected}, but read {found}")]
    ClusterId {
        /// In the file.
        found: String,
        /// Configured, or of the other log dirs.
        expected: String,
        /// The log dir.
        dir: String,
    },
    /// The directory holds the metadata of an Apache Kafka.
    #[error(
        "{0} holds the metadata log of an Apache Kafka (__cluster_metadata-0), which this broker does not read; it was left untouched. Choose another log.dirs"
    )]
    KafkaMetadata(String),
    /// The metadata log lies in a log dir that is not the configured one: starting would make an empty cluster.
    #[error(
        "{found} holds this node's metadata log, but {expected} is configured to (the first of log.dirs, or metadata.log.dir). Was the order of log.dirs changed? Nothing was touched"
    )]
    MetadataElsewhere {
        /// The log dir that has it.
        found: String,
        /// The one that should.
        expected: String,
    },
    /// Partitions of a cluster whose metadata is gone: starting would make an empty cluster beside them.
    #[error(
        "{dir} holds partitions (such as {example}) and a meta.properties, but no log dir holds the metadata log that says what they are; nothing was touched. Bring the log dir with the metadata log back, or choose an empty log.dirs"
    )]
    MetadataMissing {
        /// The log dir.
        dir: String,
        /// One of its partitions.
        example: String,
    },
    /// Two log dirs are copies of each other.
    #[error(
        "{one} and {other} have the same directory.id in meta.properties: one is a copy of the other. Remove one from log.dirs"
    )]
    DuplicateDirectoryId {
        /// A log dir.
        one: String,
        /// Another.
        other: String,
    },
    /// One partition lies in two log dirs.
    #[error("{partition} lies in {one} and in {other}; only one of them can be right. Move the other away")]
    DuplicatePartition {
        /// The partition.
        partition: String,
        /// A log dir.
        one: String,
        /// Another.
        other: String,
    },
    /// The controller did not start.
    #[error("the controller cannot start: {0}")]
    Controller(#[from] milena_controller::StartError),
    /// The controller did not accept this broker.
    #[error("this broker could not be registered: {0}")]
    Registration(String),
}

pub(crate) async fn start(config: ServerConfig, disk: Arc<dyn Disk>) -> Result<Broker, StartError> {
    let env = crate::env::system();
    let listeners = bind(&config)?;
    let shares = descriptors::shares();
    let descriptors = Descriptors::new(shares.files, INDEX_CACHE_BYTES);
    let (log_dirs, cluster_id) = log_dirs::open(&config, &disk, &descriptors)?;
    let recovery_threads = config.settings.num_recovery_threads_per_data_dir.max(1) as usize;
    let directories = Arc::new(Directories::new(log_dirs, &config.metadata_log_dir, recovery_threads, &env.clock)?);
    let usable = directories.iter().filter(|directory| !directory.health.is_offline());
    let directory_ids: Vec<Uuid> = usable.map(|directory| directory.id).collect();

    let controller = start_controller(&config, &cluster_id, &directories, &disk, &env)?;
    let broker_epoch = register(&config, &controller, &cluster_id, &directory_ids, &listeners).await?;
    lifecycle::registered(config.node_id, broker_epoch);
    let changes = controller.changes();
    lifecycle::caught_up(config.node_id);

    let live = Arc::new(LiveConfig::new(&config));
    let image = changes.start();
    live.on_image(&image);
    let settings = Arc::new(LiveTopicSettings::new(&config, &live));
    let now = env.clock.now();
    let replicas = {
        let directories = Arc::clone(&directories);
        Arc::new(tokio::task::block_in_place(|| Replicas::open(config.node_id, image, settings, directories, now)))
    };
    let fetch_sessions =
        FetchSessions::new(config.settings.max_incremental_fetch_session_cache_slots.max(0) as usize, env.seed);
    let node = Arc::new(Node {
        id: config.node_id,
        broker_epoch,
        cluster_id,
        config,
        live,
        controller,
        replicas,
        fetch_sessions: Mutex::new(fetch_sessions),
        fetch_conversions: Conversions::default(),
        producer_ids: tokio::sync::Mutex::new(ProducerIds::default()),
        clock: env.clock,
    });
    let (stop_following, following_stopped) = watch::channel(false);
    let follower = tokio::spawn(follow(Arc::clone(&node), changes, following_stopped));
    unfence(&node).await?;
    let (stop, stopped) = watch::channel(false);
    let addresses = listeners.iter().flat_map(BoundListener::addresses).collect();
    Ok(Broker {
        server: tokio::spawn(server::serve(Arc::clone(&node), listeners, shares.connections, stopped.clone())),
        maintenance: tokio::spawn(crate::maintenance::run(Arc::clone(&node), disk, stopped.clone())),
        reporter: tokio::spawn(reports::report(Arc::clone(&node), stopped.clone())),
        follower,
        node,
        stop,
        stop_following,
        addresses,
    })
}

fn bind(config: &ServerConfig) -> Result<Vec<BoundListener>, StartError> {
    let settings = &config.settings;
    let options = SocketOptions {
        send_buffer_bytes: settings.socket_send_buffer_bytes,
        receive_buffer_bytes: settings.socket_receive_buffer_bytes,
        backlog: settings.socket_listen_backlog_size,
    };
    let bound = config.listeners.iter().map(|listener| {
        let hosts: &[&str] = match &listener.bind {
            Bind::Wildcard => &[""],
            Bind::Loopback => &["127.0.0.1", "::1"],
            Bind::Host(host) => &[host],
        };
        BoundListener::bind(&listener.name, hosts, listener.port, options).map_err(StartError::from)
    });
    bound.collect()
}

fn start_controller(
    config: &ServerConfig,
    cluster_id: &str,
    directories: &Directories,
    disk: &Arc<dyn Disk>,
    env: &Env,
) -> Result<Controller, StartError> {
    let log_dir = config.log_dirs.iter().position(|dir| *dir == config.metadata_log_dir).unwrap_or(0);
    let directory_id = directories.get(log_dir).id;
    let mut controller =
        ControllerConfig::new(config.node_id, directory_id, cluster_id, config.metadata_log_dir.clone());
    controller.log_dir = log_dir;
    controller.static_config = (*config.static_config).clone();
    Ok(Controller::start(controller, Arc::clone(disk), env.clone())?)
}

/// Registers this broker, which stays fenced: it leads nothing before its logs are open. Returns its epoch.
async fn register(
    config: &ServerConfig,
    controller: &Controller,
    cluster_id: &str,
    directory_ids: &[Uuid],
    bound: &[BoundListener],
) -> Result<i64, StartError> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let listeners = config.listeners.iter().zip(bound).map(|(listener, bound)| {
        let (host, port) = match &listener.advertised {
            Advertised::AsReached => (host_name(), 0),
            Advertised::Endpoint(endpoint) => (endpoint.host.clone(), endpoint.port),
        };
        Listener::default()
            .with_name(text(&listener.name))
            .with_host(text(&host))
            .with_port(if port == 0 { bound.port() } else { port })
            .with_security_protocol(listener.protocol.id())
    });
    let feature = |name: &str, min, max| {
        Feature::default().with_name(text(name)).with_min_supported_version(min).with_max_supported_version(max)
    };
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(config.node_id))
        .with_cluster_id(text(cluster_id))
        .with_incarnation_id(log_dirs::random_uuid())
        .with_listeners(listeners.collect())
        .with_features(
            crate::handlers::supported_features().iter().map(|(name, min, max)| feature(name, *min, *max)).collect(),
        )
        .with_rack(config.rack.as_deref().map(text))
        .with_log_dirs(directory_ids.to_vec());
    let deadline = Instant::now() + REGISTRATION_TIMEOUT;
    let failed = |what: &str| StartError::Registration(what.to_owned());
    loop {
        match controller.submit(Operation::RegisterBroker { version: 4, request: request.clone() }, deadline).await {
            Ok(submitted) => match submitted.response {
                Response::RegisterBroker(response) if response.error_code == 0 => return Ok(response.broker_epoch),
                Response::RegisterBroker(response) => {
                    let error = ResponseError::try_from_code(response.error_code);
                    return Err(failed(
                        &error.map_or_else(|| response.error_code.to_string(), |error| error.to_string()),
                    ));
                }
                _ => return Err(failed("the controller gave another operation's answer")),
            },
            Err(SubmitError::NotController { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(failed(&error.to_string())),
        }
    }
}

/// Lifts the fence and waits until this broker leads what that gives it.
async fn unfence(node: &Node) -> Result<(), StartError> {
    let heartbeat = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(node.id))
        .with_broker_epoch(node.broker_epoch)
        .with_current_metadata_offset(node.image().offset);
    let operation = Operation::BrokerHeartbeat { version: 1, request: heartbeat };
    match node.submit(operation, REGISTRATION_TIMEOUT).await {
        Ok(_) => Ok(()),
        Err(error) => Err(StartError::Registration(error.to_string())),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Acts on every change of the metadata, in order.
async fn follow(node: Arc<Node>, mut changes: Changes, mut stop: watch::Receiver<bool>) {
    loop {
        let change = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            change = changes.next() => change,
            () = tokio::time::sleep(RETRY), if node.replicas.waits_for_room() => {
                tokio::task::block_in_place(|| node.replicas.retry_for_room(node.now()));
                continue;
            }
        };
        let Some(change) = change else { return };
        if !change.delta.configs.is_empty() {
            node.live.on_image(&change.image);
        }
        let now = node.now();
        node.replicas.apply(&change.delta, change.image, now).await;
    }
}

/// Topic settings by the rules of Kafka: topic, then broker, then cluster default, then `server.properties`.
#[derive(Debug)]
struct LiveTopicSettings {
    node_id: i32,
    static_config: Arc<std::collections::BTreeMap<String, String>>,
    live: Arc<LiveConfig>,
}

impl LiveTopicSettings {
    fn new(config: &ServerConfig, live: &Arc<LiveConfig>) -> Self {
        Self { node_id: config.node_id, static_config: Arc::clone(&config.static_config), live: Arc::clone(live) }
    }

    fn layers<'a>(&'a self, image: &'a MetadataImage) -> Layers<'a> {
        Layers {
            dynamic_broker: image.configs.broker(self.node_id),
            dynamic_default: image.configs.default_broker(),
            static_config: &self.static_config,
        }
    }
}

impl TopicSettings for LiveTopicSettings {
    fn log_config(&self, image: &MetadataImage, topic: &str) -> Arc<LogConfig> {
        Arc::new(config::log_config(image.configs.topic(topic), &self.layers(image)))
    }

    fn min_in_sync(&self, image: &MetadataImage, topic: &str) -> i32 {
        TopicConfigs::new(image.configs.topic(topic), &self.layers(image)).long("min.insync.replicas") as i32
    }

    fn producer_id_expiration_ms(&self, _: &MetadataImage) -> i64 {
        i64::from(self.live.settings().producer_id_expiration_ms)
    }
}
