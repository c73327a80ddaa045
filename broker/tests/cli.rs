//! The binary as scripts see it: what it prints where, and its exit codes. The texts are those of `kafka-storage.sh`
//! 4.3.1 unless said otherwise.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

fn milena(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milena")).args(arguments).env_clear().output().unwrap()
}

/// Exit code, stdout, stderr.
fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Two log dirs, not yet made, and a file that names them.
struct Node {
    dir: TempDir,
    file: PathBuf,
}

impl Node {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        let path = dir.path().display();
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
             controller.listener.names=CONTROLLER\nlog.dirs={path}/a,{path}/b\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        Self { dir, file }
    }

    fn with_voters() -> Self {
        Self::new("controller.quorum.voters=1@localhost:9093\n")
    }

    fn storage(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut all = vec!["storage", arguments[0], "-c", self.file.to_str().unwrap()];
        all.extend(&arguments[1..]);
        let (code, out, err) = outcome(&milena(&all));
        let path = self.dir.path().display().to_string();
        (code, out.replace(&path, "DIR"), err.replace(&path, "DIR"))
    }

    fn meta_properties(&self, dir: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(dir).join("meta.properties")).ok()
    }
}

#[test]
fn format_writes_every_log_dir_once() {
    let node = Node::with_voters();
    let (code, out, err) = node.storage(&["format", "-t", CLUSTER_ID]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with(
        "Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', \
         featureLevel=30) at version 0), ApiMessageAndVersion(FeatureLevelRecord(name='eligible.leader.replicas.version', \
         featureLevel=1) at version 0), ApiMessageAndVersion(FeatureLevelRecord(name='group.version', featureLevel=1) at \
         version 0), "
    ));
    assert!(lines[0].ends_with("metadataVersionLevel=30, source=format command)"));
    assert_eq!(
        lines[1..],
        [
            "Formatting metadata directory DIR/a with metadata.version 4.3-IV0.",
            "Formatting data directory DIR/b with metadata.version 4.3-IV0.",
        ]
    );
    for dir in ["a", "b"] {
        let text = node.meta_properties(dir).unwrap();
        for line in ["version=1", &format!("cluster.id={CLUSTER_ID}"), "node.id=1"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.starts_with("#\n#"), "{text}");
    }
    assert_ne!(node.meta_properties("a"), node.meta_properties("b"), "every dir has an id of its own");
}

#[test]
fn format_refuses_what_is_formatted_unless_told_to_ignore_it() {
    let node = Node::with_voters();
    assert_eq!(node.storage(&["format", "-t", CLUSTER_ID]).0, 0);
    let before = node.meta_properties("a");
    let refused = "Log directory DIR/a is already formatted. Use --ignore-formatted to ignore this directory and format \
                   the others.\n";
    assert_eq!(node.storage(&["format", "--cluster-id", CLUSTER_ID]), (1, String::new(), refused.to_owned()));
    let ignored = "All of the log directories are already formatted.\n";
    assert_eq!(
        node.storage(&["format", "-t", CLUSTER_ID, "--ignore-formatted"]),
        (0, ignored.to_owned(), String::new())
    );
    let other = format!("Invalid cluster.id in: DIR/a/meta.properties. Expected other, but read {CLUSTER_ID}\n");
    assert_eq!(node.storage(&["format", "-t", "other", "-g"]), (1, String::new(), other));
    assert_eq!(node.meta_properties("a"), before);
}

#[test]
fn format_asks_how_the_quorum_begins() {
    let dynamic = Node::new("controller.quorum.bootstrap.servers=localhost:9093\n");
    let unsaid = "Because controller.quorum.voters is not set on this controller, you must specify one of the \
                  following: --standalone, --initial-controllers, or --no-initial-controllers.\n";
    assert_eq!(dynamic.storage(&["format", "-t", CLUSTER_ID]), (1, String::new(), unsaid.to_owned()));
    let (code, out, _) = dynamic.storage(&["format", "-t", CLUSTER_ID, "--standalone"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("Formatting dynamic metadata voter directory DIR/a with metadata.version 4.3-IV0.\n"),
        "{out}"
    );
    let (code, _, err) = Node::with_voters().storage(&["format", "-t", CLUSTER_ID, "-s"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("You cannot specify controller.quorum.voters and format the node with "), "{err}");
}

#[test]
fn format_refuses_what_it_cannot_keep() {
    let node = Node::with_voters();
    for (arguments, message) in [
        (
            ["-f", "foo=1"],
            "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, kraft.version, share.version, streams.version, transaction.version",
        ),
        (["-f", "group.version"], "Can't parse feature=level string group.version: equals sign not found."),
        (
            ["-S", "SCRAM-SHA-256=[name=a,password=b]"],
            "--add-scram is not supported: this release has no SASL, so the credential would protect nothing",
        ),
    ] {
        let (code, out, err) = node.storage(&["format", "-t", CLUSTER_ID, arguments[0], arguments[1]]);
        assert_eq!((code, out.as_str(), err.trim_end()), (1, "", message));
    }
    assert_eq!(node.meta_properties("a"), None);
}

#[test]
fn info_tells_what_it_finds_and_what_is_wrong() {
    let node = Node::with_voters();
    let nothing = "Found problems:\n  DIR/a does not exist\n  DIR/b does not exist\n\n";
    assert_eq!(node.storage(&["info"]), (1, nothing.to_owned(), String::new()));
    assert_eq!(node.storage(&["format", "-t", CLUSTER_ID]).0, 0);
    let (code, out, err) = node.storage(&["info"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("Found log directories:\n  DIR/a\n  DIR/b\n\nFound metadata: {cluster.id="), "{out}");
    assert!(out.ends_with(", node.id=1, version=1}\n\n"), "{out}");
    std::fs::remove_file(node.dir.path().join("b/meta.properties")).unwrap();
    let (code, out, _) = node.storage(&["info"]);
    assert_eq!(code, 1);
    assert!(out.ends_with("Found problem:\n  DIR/b is not formatted.\n\n"), "{out}");
}

#[test]
fn features_are_looked_up_as_kafka_does() {
    let mapping = "metadata.version=21 (3.9)\nkraft.version=1\ntransaction.version=0\ngroup.version=0\n\
                   eligible.leader.replicas.version=0\nshare.version=0\nstreams.version=0\n";
    assert_eq!(outcome(&milena(&["storage", "version-mapping", "-r", "3.9"])), (0, mapping.to_owned(), String::new()));
    let (code, out, _) = outcome(&milena(&["storage", "version-mapping"]));
    assert_eq!(code, 0);
    assert!(out.starts_with("metadata.version=30 (4.3-IV0)\nkraft.version=1\ntransaction.version=2\n"), "{out}");
    let dependencies = milena(&["storage", "feature-dependencies", "-f", "group.version=1", "-f", "foo=1"]);
    assert_eq!(
        outcome(&dependencies),
        (1, "group.version=1 has no dependencies.\n".to_owned(), "Unknown feature: foo\n".to_owned())
    );
}

#[test]
fn random_uuids_are_22_characters_and_no_option() {
    let (code, out, _) = outcome(&milena(&["storage", "random-uuid"]));
    assert_eq!((code, out.trim_end().len()), (0, 22));
    assert!(!out.starts_with('-'));
}

/// Runs a start that must be refused: one line on stderr, nothing on stdout, exit code 1, no data directory.
#[track_caller]
fn refused_start(dir: &Path, arguments: &[&str], environment: &[(&str, &str)], expected: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_milena"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(dir)
        .output()
        .unwrap();
    assert_eq!(outcome(&output), (1, String::new(), format!("{expected}\n")));
    assert!(std::fs::read_dir(dir).unwrap().next().is_none(), "something was touched");
}

#[test]
fn a_bad_start_is_one_line_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bad = "Invalid value abc for configuration num.partitions: Not a number of type INT";
    refused_start(dir.path(), &["--override", "num.partitions=abc"], &[], bad);
    refused_start(dir.path(), &["-override", "num.partitions=abc"], &[], bad);
    refused_start(dir.path(), &[], &[("KAFKA_NUM_PARTITIONS", "abc")], bad);
    refused_start(
        dir.path(),
        &["missing.properties"],
        &[],
        "cannot read the configuration file missing.properties: No such file or directory (os error 2)",
    );
    refused_start(
        dir.path(),
        &["--override", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"],
        &[],
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer is not supported: this release \
         has no authorizer; it does not start rather than let everybody in",
    );
}

#[test]
fn wrong_arguments_exit_1_and_help_exits_0() {
    for (arguments, expected) in [
        (vec!["--nonsense"], 1),
        (vec!["storage"], 1),
        (vec!["storage", "bogus"], 1),
        (vec!["storage", "format", "-t", "x"], 1),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["storage", "format", "--help"], 0),
    ] {
        let (code, out, err) = outcome(&milena(&arguments));
        assert_eq!(code, expected, "{arguments:?}");
        assert_eq!(out.is_empty(), expected != 0, "{arguments:?}: {out}{err}");
    }
}

/// A broker that has said it is ready.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Running {
    fn start(node: &Node) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_milena"))
            .arg(&node.file)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(" Ready. Next: ")) {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("the broker ended: {lines:#?} {stderr}");
            }
            lines.push(line.trim_end().to_owned());
        }
        Self { child, stdout, lines }
    }

    /// Sends a signal; returns the exit code and all lines.
    fn stop(mut self, signal: Signal) -> (Option<i32>, Vec<String>) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        self.lines.extend(rest.lines().map(str::to_owned));
        (self.child.wait().unwrap().code(), self.lines)
    }
}

/// Asserts that these stand in the lines in this order.
#[track_caller]
fn in_order(lines: &[String], expected: &[&str]) {
    let mut rest = lines.iter();
    for text in expected {
        assert!(rest.any(|line| line.ends_with(text)), "{text} is missing, or too early, in {lines:#?}");
    }
}

#[test]
fn signals_end_the_broker_with_the_exit_codes_of_kafkas_jvm() {
    for (signal, name, code) in
        [(Signal::TERM, "SIGTERM", 143), (Signal::INT, "SIGINT", 130), (Signal::HUP, "SIGHUP", 129)]
    {
        let node = Node::with_voters();
        let (ended, lines) = Running::start(&node).stop(signal);
        assert_eq!(ended, Some(code), "{name}: {lines:#?}");
        in_order(
            &lines,
            &[
                "INFO Registered signal handlers for TERM, INT, HUP (org.apache.kafka.common.utils.LoggingSignalHandler)",
                "INFO [BrokerServer id=1] Starting broker (kafka.server.BrokerServer)",
                "INFO [BrokerLifecycleManager id=1] The broker has been unfenced. Transitioning from RECOVERY to \
                 RUNNING. (kafka.server.BrokerLifecycleManager)",
                "INFO Kafka version: 4.3.1 (org.apache.kafka.common.utils.AppInfoParser)",
                "INFO [KafkaRaftServer nodeId=1] Kafka Server started (kafka.server.KafkaRaftServer)",
                "INFO [KafkaServer id=1] started (kafka.server.KafkaServer)",
                &format!(
                    "INFO Terminating process due to signal {name} (org.apache.kafka.common.utils.LoggingSignalHandler)"
                ),
                "INFO [BrokerServer id=1] shut down completed (kafka.server.BrokerServer)",
            ],
        );
    }
}

#[test]
fn a_data_directory_in_use_and_a_port_in_use_are_one_line() {
    let node = Node::with_voters();
    let running = Running::start(&node);
    let second = Command::new(env!("CARGO_BIN_EXE_milena")).arg(&node.file).env_clear().output().unwrap();
    let (code, _, err) = outcome(&second);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("is using this directory"), "{err}");
    assert_eq!(running.stop(Signal::TERM).0, Some(143));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = Node::with_voters();
    let listeners =
        format!("listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://:9093", taken.local_addr().unwrap().port());
    let output = Command::new(env!("CARGO_BIN_EXE_milena"))
        .arg(&node.file)
        .args(["--override", &listeners])
        .env_clear()
        .output()
        .unwrap();
    let (code, _, err) = outcome(&output);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("in use"), "{err}");
    assert!(!node.dir.path().join("a").exists(), "a refused start touched the log dirs");
}

#[test]
fn a_formatted_directory_is_taken_over_and_another_clusters_is_refused() {
    let node = Node::with_voters();
    assert_eq!(node.storage(&["format", "-t", CLUSTER_ID]).0, 0);
    let formatted = node.meta_properties("a");
    let refused = Command::new(env!("CARGO_BIN_EXE_milena"))
        .arg(&node.file)
        .env_clear()
        .env("CLUSTER_ID", "AnotherClusterIdAltogt")
        .output()
        .unwrap();
    let (code, _, err) = outcome(&refused);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains(&format!("Expected AnotherClusterIdAltogt, but read {CLUSTER_ID}")), "{err}");
    assert_eq!(Running::start(&node).stop(Signal::TERM).0, Some(143));
    assert_eq!(node.meta_properties("a"), formatted);
}
