//! What a scenario works with: a running cluster, and a place to write down what it saw.

use std::{
    cell::RefCell,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, ListOffsetsRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::Request,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    Outcome,
    cluster::{Cluster, Tools},
    debug_json::bytes_of,
    java::{CliServer, Printed},
    raw::{
        Answer, Connection,
        fields::{self, Body},
        records, text, topic_name,
    },
};

/// How long something may take that comes about by itself. Long, because a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(15);

/// One scenario's view of one of the two clusters.
pub(crate) struct Context<'a> {
    pub(crate) cluster: &'a mut dyn Cluster,
    pub(crate) tools: &'a Tools,
    /// Kafka's command line tools, in a JVM that all scenarios of this side share.
    pub(crate) cli: &'a mut Option<CliServer>,
    /// Ids of topics that the scenario made, with names for them: an id is random, which topic it means is not.
    ids: RefCell<Vec<(Uuid, String)>>,
    seen: Map<String, Value>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(cluster: &'a mut dyn Cluster, tools: &'a Tools, cli: &'a mut Option<CliServer>) -> Self {
        Self { cluster, tools, cli, ids: RefCell::default(), seen: Map::new() }
    }

    /// Everything that was recorded.
    pub(crate) fn into_seen(self) -> Value {
        Value::Object(self.seen)
    }

    /// A new connection to the broker.
    pub(crate) fn connect(&self) -> Outcome<Connection> {
        Ok(Connection::open(&self.cluster.bootstrap())?)
    }

    /// Records what was seen at a step. What two clusters recorded under one name is compared.
    pub(crate) fn record(&mut self, step: impl Into<String>, mut value: Value) {
        describe_records(&mut value);
        self.name_what_was_chosen(&mut value);
        let step = step.into();
        assert!(!step.contains(['.', ' ']), "the step {step} could not be named in the file of deviations");
        let previous = self.seen.insert(step.clone(), value);
        assert!(previous.is_none(), "the step {step} was recorded twice");
    }

    /// Records printed text, line by line.
    pub(crate) fn record_text(&mut self, step: impl Into<String>, text: &str) {
        self.record(step, text.lines().map(str::trim_end).collect());
    }

    /// Sends a request, records the answer whatever it is, and hands back the response if there was one.
    /// A connection that the broker closed is replaced.
    pub(crate) fn ask<R: Request>(
        &mut self,
        step: impl Into<String>,
        connection: &mut Connection,
        version: i16,
        request: &R,
    ) -> Outcome<Option<R::Response>>
    where
        R::Response: std::fmt::Debug,
    {
        let answer = connection.call(version, request)?;
        self.record(step, answer.to_json());
        let response = answer.response();
        if response.is_none() {
            *connection = self.connect()?;
        }
        Ok(response)
    }

    /// Runs one of Kafka's command line tools with this standard input; records how it ended and what it printed.
    pub(crate) fn tool(&mut self, step: &str, class: &str, arguments: &[&str], input: &str) -> Outcome<String> {
        let printed = self.run_tool(class, arguments, input)?;
        let lines = |text: &str| text.lines().map(str::trim_end).collect::<Value>();
        let (stdout, stderr) = (lines(&printed.stdout), lines(&printed.stderr));
        self.record(step, json!({"exit": printed.exit_code, "stdout": stdout, "stderr": stderr}));
        Ok(printed.stdout)
    }

    /// Runs one of Kafka's command line tools and records nothing.
    pub(crate) fn run_tool(&mut self, class: &str, arguments: &[&str], input: &str) -> Outcome<Printed> {
        let server = match self.cli {
            Some(server) => server,
            None => self.cli.insert(CliServer::start(self.tools)?),
        };
        server.run(class, arguments, input)
    }

    /// Runs a program with this standard input; records how it ended and its standard output.
    pub(crate) fn program(&mut self, step: &str, command: &mut Command, input: &str) -> Outcome<String> {
        let (code, stdout, stderr) = run_with_input(command, input)?;
        let lines = stdout.lines().map(str::trim_end).collect::<Value>();
        let mut seen = json!({"exit": code, "stdout": lines});
        if code != 0 {
            seen["stderr"] = stderr.lines().collect();
        }
        self.record(step, seen);
        Ok(stdout)
    }

    /// Sends a request that must be answered, recording nothing.
    pub(crate) fn demand<R>(&self, version: i16, request: &R) -> Outcome<R::Response>
    where
        R: Request + std::fmt::Debug,
        R::Response: std::fmt::Debug,
    {
        let answer = self.connect()?.call(version, request)?;
        let shown = answer.to_json();
        answer.response().ok_or_else(|| format!("{shown} to {request:?}").into())
    }

    /// As `ask`, for a version that the message structs do not know: the answer is read by its layout.
    pub(crate) fn ask_by_hand(
        &mut self,
        step: impl Into<String>,
        connection: &mut Connection,
        (key, version): (i16, i16),
        body: Body,
        layout: &str,
    ) -> Outcome<Value> {
        connection.send_body(key, version, 1, &body.0)?;
        let (seen, stays) = match connection.receive_frame()? {
            Answer::Response(frame, _) => (read_answer(*frame, layout), true),
            other => (other.to_json(), false),
        };
        self.record(step, seen.clone());
        if !stays {
            *connection = self.connect()?;
        }
        Ok(seen)
    }

    /// Waits until `found` finds something.
    pub(crate) fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Outcome<Option<T>>) -> Outcome<T> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = found(self)? {
                return Ok(value);
            }
            if Instant::now() > give_up {
                return Err(format!("waited in vain: {what}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A topic that is ready for use.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Outcome<Uuid> {
        let configs = configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value))));
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.demand(7, &request)?;
        let row = response.topics.first().ok_or("CreateTopics answered no row")?;
        if row.error_code != 0 {
            return Err(format!("CreateTopics of {name}: {row:?}").into());
        }
        self.until_ready(name, partitions)?;
        self.name_id(row.topic_id, name);
        Ok(row.topic_id)
    }

    /// Shows this id as that of `name` from now on.
    pub(crate) fn name_id(&self, id: Uuid, name: &str) {
        self.ids.borrow_mut().push((id, format!("(id of {name})")));
    }

    /// Ports, directories and ids that differ because nobody could make them equal.
    fn name_what_was_chosen(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|field| self.name_what_was_chosen(field)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.name_what_was_chosen(item)),
            Value::Number(number) if number.as_u64() == Some(u64::from(self.port())) => *value = "(port)".into(),
            Value::String(text) => {
                for (id, name) in self.ids.borrow().iter() {
                    *text = text.replace(&id.to_string(), name).replace(&kafka_text(*id), name);
                }
                *text = text.replace(&*self.cluster.data_dir().to_string_lossy(), "(data)");
                *text = text.replace(&self.cluster.bootstrap(), "(host:port)");
            }
            _ => {}
        }
    }

    fn port(&self) -> u16 {
        self.cluster.bootstrap().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Waits until this broker acts as the leader of all partitions.
    pub(crate) fn until_ready(&self, topic: &str, partitions: i32) -> Outcome {
        let rows = (0..partitions)
            .map(|index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1))
            .collect();
        let topics = vec![ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(rows)];
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(topics);
        self.until(&format!("{topic} is ready"), |context| {
            let response = context.demand(4, &request)?;
            let ready = response.topics.iter().flat_map(|topic| &topic.partitions).all(|row| row.error_code == 0);
            Ok(ready.then_some(()))
        })
    }
}

/// The body of a response whose header is a correlation id.
fn read_answer(frame: Bytes, layout: &str) -> Value {
    let mut body = frame.slice(4.min(frame.len())..);
    match fields::read(layout, &mut body) {
        Some(value) if body.is_empty() => value,
        Some(value) => json!({"response": value, "trailing bytes": body.len()}),
        None => json!({"undecodable": format!("{frame:?}")}),
    }
}

/// Runs a program to its end: exit code, standard output, standard error.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Outcome<(i32, String, String)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program may end before it has read everything.
    let _ = writer.join();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

/// An id as Kafka prints it.
pub(crate) fn kafka_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Replaces the bytes of all fields called `records` by what stands in them.
fn describe_records(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().and_then(bytes_of) {
                    Some(bytes) if name == "records" => *field = records::describe(&Bytes::from(bytes)),
                    _ => describe_records(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(describe_records),
        _ => {}
    }
}
