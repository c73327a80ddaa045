//! Milena on log directories that a test chooses, for tests that need its process id or watch it die.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use kafka_protocol::messages::{
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use uuid::Uuid;

use crate::{
    Outcome,
    cluster::{Cluster, Node, Tools},
    context::Context,
    raw::{
        Batch, Connection,
        requests::{Topic, produce},
        text, topic_name,
    },
    scenarios::produce::now_ms,
};

/// The resource type of topics.
const TOPIC_RESOURCE: i8 = 2;

/// One broker under test.
pub(crate) struct Broker {
    node: Node,
    scratch: PathBuf,
    tools: Tools,
    log_dirs: Vec<PathBuf>,
    /// A program and its arguments that the next starts run under.
    pub(crate) start_under: Vec<String>,
}

impl Broker {
    /// A broker with these log dirs (one of its own, if there are none) and settings.
    pub(crate) fn create(tools: &Tools, log_dirs: &[PathBuf], settings: &[(&str, &str)]) -> Outcome<Self> {
        let mut config: Vec<(&'static str, &'static str)> = Vec::new();
        // A cluster's settings are constants; those of a test run live as long as it does.
        let keep = |text: &str| -> &'static str { String::from(text).leak() };
        if !log_dirs.is_empty() {
            let dirs: Vec<String> = log_dirs.iter().map(|dir| dir.display().to_string()).collect();
            config.push(("log.dirs", keep(&dirs.join(","))));
        }
        config.extend(settings.iter().map(|(key, value)| (keep(key), keep(value))));
        let node = Node::create(config.leak())?;
        let log_dirs = if log_dirs.is_empty() { vec![node.data_dir()] } else { log_dirs.to_vec() };
        Ok(Self { scratch: node.scratch_dir(), node, tools: tools.clone(), log_dirs, start_under: Vec::new() })
    }

    pub(crate) fn pid(&self) -> Outcome<u32> {
        self.node.pid()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> Outcome<i32> {
        self.node.wait()
    }

    /// A topic of one replica, ready for use.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Outcome {
        let tools = self.tools.clone();
        Context::new(self, &tools, &mut None).create_topic(name, partitions, configs).map(|_| ())
    }

    /// Waits until it leads all partitions of a topic.
    pub(crate) fn until_ready(&mut self, topic: &str, partitions: i32) -> Outcome {
        let tools = self.tools.clone();
        Context::new(self, &tools, &mut None).until_ready(topic, partitions)
    }

    /// Waits until `found` finds something.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&Connected) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let tools = self.tools.clone();
        let bootstrap = self.bootstrap();
        let mut nothing = None;
        let context = Context::new(self, &tools, &mut nothing);
        context.until(what, |_| found(&Connected { bootstrap: bootstrap.clone() }))
    }

    /// Which of its log dirs holds a partition.
    pub(crate) fn log_dir_of(&self, topic: &str, partition: i32) -> Outcome<usize> {
        let name = format!("{topic}-{partition}");
        let found = self.log_dirs.iter().position(|dir| dir.join(&name).is_dir());
        found.ok_or_else(|| format!("{name} lies in none of the log dirs").into())
    }

    /// The directory of a partition.
    pub(crate) fn partition_dir(&self, topic: &str, partition: i32) -> Outcome<PathBuf> {
        Ok(self.log_dirs[self.log_dir_of(topic, partition)?].join(format!("{topic}-{partition}")))
    }

    /// The newest segment's file of a partition.
    pub(crate) fn active_log(&self, topic: &str, partition: i32) -> Outcome<PathBuf> {
        self.segments(topic, partition)?.pop().ok_or_else(|| "no segment".into())
    }

    /// The `.log` files of a partition, oldest first.
    pub(crate) fn segments(&self, topic: &str, partition: i32) -> Outcome<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.partition_dir(topic, partition)?)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        Ok(files)
    }

    pub(crate) fn log_dirs(&self) -> &[PathBuf] {
        &self.log_dirs
    }

    pub(crate) fn connected(&self) -> Connected {
        Connected { bootstrap: self.bootstrap() }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(mut last) = LAST_LOG.lock() {
            *last = self.log();
        }
    }
}

/// What the broker of the last case printed: it is gone when a failure is reported.
static LAST_LOG: Mutex<String> = Mutex::new(String::new());

pub(crate) fn last_log() -> String {
    LAST_LOG.lock().map_or_else(|_| String::new(), |log| log.clone())
}

impl Cluster for Broker {
    fn start(&mut self) -> Outcome {
        let mut command = match self.start_under.split_first() {
            None => Command::new(&self.tools.milena),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.tools.milena);
                command
            }
        };
        command.arg(self.node.properties()).current_dir(self.node.path());
        self.node.start(&mut command)
    }

    fn data_dir(&self) -> PathBuf {
        self.log_dirs[0].clone()
    }

    fn node(&self) -> &Node {
        &self.node
    }

    fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    fn scratch_dir(&self) -> &Path {
        &self.scratch
    }
}

/// What a client may ask a broker.
pub(crate) struct Connected {
    bootstrap: String,
}

impl Connected {
    /// DescribeLogDirs: the error code of each log dir.
    pub(crate) fn log_dir_errors(&self) -> Outcome<Vec<(PathBuf, i16)>> {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let answer = Connection::open(&self.bootstrap)?.call(4, &request)?;
        let response = answer.response().ok_or("no answer to DescribeLogDirs")?;
        Ok(response.results.iter().map(|row| (PathBuf::from(row.log_dir.as_str()), row.error_code)).collect())
    }

    /// The error code of a Produce of one record with `acks=all`.
    pub(crate) fn produce(&self, topic: &str, partition: i32, value: &str) -> Outcome<i16> {
        let batch = Batch::new(now_ms(), &[value]).encode();
        let request = produce(9, -1, Topic { name: topic, id: Uuid::nil() }, &[(partition, batch)]);
        let response =
            Connection::open(&self.bootstrap)?.call(9, &request)?.response().ok_or("no answer to Produce")?;
        Ok(response.responses[0].partition_responses[0].error_code)
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, topic: &str) -> Outcome {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name(topic)]).with_timeout_ms(30_000);
        let response = Connection::open(&self.bootstrap)?.call(5, &request)?.response().ok_or("no DeleteTopics")?;
        let code = response.responses[0].error_code;
        if code == 0 { Ok(()) } else { Err(format!("DeleteTopics of {topic} answered {code}").into()) }
    }

    /// Sets one config of a topic.
    pub(crate) fn set_topic_config(&self, topic: &str, key: &str, value: &str) -> Outcome {
        let config = AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = Connection::open(&self.bootstrap)?.call(1, &request)?;
        let response = answer.response().ok_or("no answer to IncrementalAlterConfigs")?;
        let code = response.responses[0].error_code;
        if code == 0 { Ok(()) } else { Err(format!("IncrementalAlterConfigs of {topic} answered {code}").into()) }
    }

    /// One config of a topic.
    pub(crate) fn topic_config(&self, topic: &str, key: &str) -> Outcome<String> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(vec![text(key)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = Connection::open(&self.bootstrap)?.call(4, &request)?;
        let response = answer.response().ok_or("no answer to DescribeConfigs")?;
        let row = response.results.first().and_then(|result| result.configs.first()).ok_or("no such config")?;
        Ok(row.value.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    /// The names of all topics.
    pub(crate) fn topics(&self) -> Outcome<Vec<String>> {
        let request = MetadataRequest::default().with_topics(None);
        let response = Connection::open(&self.bootstrap)?.call(9, &request)?.response().ok_or("no Metadata")?;
        Ok(response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string()).collect())
    }
}
