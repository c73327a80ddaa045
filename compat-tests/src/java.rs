//! Java programs of these tests: compiled once per run, then run; and many of Kafka's tools in one JVM.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    Outcome,
    cluster::{Release, Tools},
};

/// Flags of a JVM that lives for seconds.
pub(crate) const SHORT_LIVED_JVM: [&str; 4] =
    ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];

/// Compiles a program of `compat-tests/java` against these jars; the directory with its classes.
pub(crate) fn compile(program: &str, class_path: &str, into: &Path) -> Outcome<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java").join(format!("{program}.java"));
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-cp", class_path, "-d"]).arg(into).arg(source);
    let output = javac.output()?;
    if output.status.success() {
        return Ok(into.to_path_buf());
    }
    Err(format!("javac {program}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// What a tool printed and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A JVM in which `main` methods of Kafka's tools run one after the other.
pub(crate) struct CliServer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _classes: tempfile::TempDir,
}

impl CliServer {
    /// Compiles and starts it.
    pub(crate) fn start(tools: &Tools) -> Outcome<Self> {
        let classes = tempfile::tempdir()?;
        let jars = tools.kafka_class_path(Release::V4_3_1);
        compile("CliServer", &jars, classes.path())?;
        let mut java = Command::new("java");
        java.args(SHORT_LIVED_JVM).arg("-Dlog4j2.level=OFF");
        java.args(["-cp", &format!("{}:{jars}", classes.path().display()), "CliServer"]);
        let mut child = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, stdin, stdout, _classes: classes })
    }

    /// Runs the `main` of a class with these arguments and this standard input.
    pub(crate) fn run(&mut self, class: &str, arguments: &[&str], input: &str) -> Outcome<Printed> {
        let mut line = format!("{class} {}", STANDARD.encode(input));
        for argument in arguments {
            line.push(' ');
            line.push_str(&STANDARD.encode(argument));
        }
        writeln!(self.stdin, "{line}")?;
        self.stdin.flush()?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        let mut words = answer.trim_end_matches('\n').split(' ');
        let exit_code = words.next().unwrap_or_default().parse()?;
        let mut text = || -> Outcome<String> {
            let bytes = STANDARD.decode(words.next().ok_or("the JVM of the tools ended")?)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Printed { exit_code, stdout: text()?, stderr: text()? })
    }
}

impl Drop for CliServer {
    fn drop(&mut self) {
        // A JVM that is gone needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
