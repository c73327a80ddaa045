//! What the full test run needs beside a Rust toolchain, and how it comes onto a fresh Debian machine: Debian
//! packages by `apt-get`, Kafka and its Java clients by Maven, kafka-python by pip, Telegraf by Go. All of it is kept
//! in `target/tools`, so that a second run installs nothing. A download that fails is tried again.
//!
//! The machine's own package clients decide where things come from: no address is written here.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{Outcome, is_installed, output_of, run, say, workspace};

/// The release of Apache Kafka that is the reference, and of the newest Java client.
const KAFKA_VERSION: &str = "4.3.1";
/// The newest Kafka that still serves what clients before 2.1 ask for: the reference of those versions.
const KAFKA_3_VERSION: &str = "3.9.1";
/// Older Java clients that must work.
const OLDER_CLIENTS: [&str; 6] = ["0.9.0.1", "0.10.2.2", "0.11.0.3", "1.1.1", "2.8.2", "3.9.1"];
const SLF4J_VERSION: &str = "1.7.36";
/// The newest log4j-slf4j-impl fits the slf4j-api 1.7 that Kafka's jars pull in.
const LOG4J_VERSION: &str = "2.25.3";

/// Releases of kafka-python that must work, and what its codecs are made of: lz4, snappy by way of cramjam, and the
/// checksum of lz4 frames as brokers before 0.10 had it.
const KAFKA_PYTHON_VERSIONS: [&str; 2] = ["1.4.7", "3.0.12"];
const PYTHON_CODECS: [&str; 4] = ["lz4==4.4.5", "python-snappy==0.7.3", "cramjam==2.14.0", "xxhash==4.1.0"];

const TELEGRAF: &str = "github.com/influxdata/telegraf/cmd/telegraf@v1.37.2";
/// Only the plugins that the tests use: a full Telegraf takes ten times as long to build.
const TELEGRAF_TAGS: &str = "custom,inputs.cpu,inputs.mem,inputs.file,inputs.kafka_consumer,outputs.kafka,outputs.file,\
                             parsers.influx,parsers.json,serializers.influx,serializers.json";
/// What Telegraf's go.mod asks for; Debian's Go is older and fetches this one as a module.
const GO_TOOLCHAIN: (u32, u32, u32) = (1, 26, 8);

/// The interpreter that kafka-python runs on.
const PYTHON: &str = "python3";

/// How often a download is tried.
const DOWNLOAD_ATTEMPTS: u32 = 3;

/// A Debian package, and the program or file by which its presence is known.
struct DebianPackage {
    names: &'static [&'static str],
    present: fn() -> bool,
}

const DEBIAN_PACKAGES: &[DebianPackage] = &[
    DebianPackage { names: &["default-jdk-headless"], present: || is_installed("javac") },
    DebianPackage { names: &["maven"], present: || is_installed("mvn") },
    DebianPackage { names: &["kcat"], present: || is_installed("kcat") },
    DebianPackage { names: &["rsyslog"], present: || is_installed("rsyslogd") },
    DebianPackage { names: &["rsyslog-kafka"], present: || has_file("/usr/lib", "rsyslog/omkafka.so") },
    DebianPackage { names: &["strace"], present: || is_installed("strace") },
    DebianPackage { names: &["e2fsprogs"], present: || is_installed("mkfs.ext4") },
    DebianPackage { names: &["mount"], present: || is_installed("mount") && is_installed("umount") },
    DebianPackage { names: &["perl-base"], present: || is_installed("perl") },
    DebianPackage { names: &["golang-go"], present: || is_installed("go") },
    DebianPackage { names: &["python3", "python3-venv"], present: || runs(PYTHON, &["-c", "import ensurepip, venv"]) },
    // librdkafka's build (the rdkafka crate) and the C parts of the compression crates.
    DebianPackage { names: &["build-essential"], present: || is_installed("g++") && is_installed("make") },
    DebianPackage { names: &["pkg-config"], present: || is_installed("pkg-config") },
    DebianPackage { names: &["zlib1g-dev"], present: || Path::new("/usr/include/zlib.h").exists() },
];

/// The directory with everything that is not a Debian package.
pub(crate) struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// The tools of an earlier `install`, unchecked.
    pub(crate) fn at_default() -> Self {
        Self { dir: workspace().join("target/tools") }
    }

    /// Where the tools lie.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Installs what is missing and says each thing it does.
    pub(crate) fn install() -> Outcome<Self> {
        let tools = Self::at_default();
        fs::create_dir_all(&tools.dir)?;
        install_debian_packages()?;
        tools.install_jars(
            &format!("kafka-{KAFKA_VERSION}"),
            &[
                ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
                ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
                ("org.apache.logging.log4j", "log4j-core", LOG4J_VERSION),
                ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
            ],
        )?;
        tools.install_jars(
            &format!("kafka-{KAFKA_3_VERSION}"),
            &[("org.apache.kafka", "kafka_2.13", KAFKA_3_VERSION), ("org.slf4j", "slf4j-reload4j", SLF4J_VERSION)],
        )?;
        for version in OLDER_CLIENTS.iter().copied().chain([KAFKA_VERSION]) {
            let artifacts = [("org.apache.kafka", "kafka-clients", version), ("org.slf4j", "slf4j-nop", SLF4J_VERSION)];
            tools.install_jars(&format!("kafka-clients-{version}"), &artifacts)?;
        }
        for version in KAFKA_PYTHON_VERSIONS {
            tools.install_kafka_python(version)?;
        }
        tools.install_telegraf()?;
        Ok(tools)
    }

    /// Downloads artifacts with all they depend on into `<name>/libs`.
    fn install_jars(&self, name: &str, artifacts: &[(&str, &str, &str)]) -> Outcome {
        let dir = self.dir.join(name);
        let complete = dir.join("complete");
        if complete.exists() {
            return Ok(());
        }
        say(&format!("Maven: {name} into {}", dir.display()));
        fs::create_dir_all(&dir)?;
        let pom = dir.join("pom.xml");
        fs::write(&pom, generated_pom(artifacts))?;
        let mut maven = Command::new("mvn");
        maven
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(&pom)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", dir.join("libs").display()));
        download(&mut maven)?;
        fs::write(complete, "")?;
        Ok(())
    }

    /// A Python of its own for one release of kafka-python, in `kafka-python-<version>`.
    fn install_kafka_python(&self, version: &str) -> Outcome {
        let dir = self.dir.join(format!("kafka-python-{version}"));
        let complete = dir.join("complete");
        if complete.exists() {
            return Ok(());
        }
        say(&format!("pip: kafka-python {version} into {}", dir.display()));
        run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&dir))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("kafka-python=={version}")]);
        download(pip.args(PYTHON_CODECS))?;
        fs::write(complete, "")?;
        Ok(())
    }

    fn install_telegraf(&self) -> Outcome {
        let bin = self.dir.join("telegraf/bin");
        if bin.join("telegraf").exists() {
            return Ok(());
        }
        let go = self.new_enough_go()?;
        say(&format!("Go: Telegraf into {} (some minutes)", bin.display()));
        fs::create_dir_all(&bin)?;
        let mut install = Command::new(&go);
        install.args(["install", "-p", "2", "-tags", TELEGRAF_TAGS, TELEGRAF]);
        install.env("GOBIN", &bin).env("GOFLAGS", "").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        if let Some(root) = go.parent().and_then(Path::parent).filter(|_| go.is_absolute()) {
            install.env("GOROOT", root);
        }
        download(&mut install)
    }

    /// The machine's Go if it is new enough for Telegraf, else the toolchain that the Go proxy offers as a module.
    fn new_enough_go(&self) -> Outcome<PathBuf> {
        let version = output_of(Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"));
        let version = version.as_deref().and_then(parse_go_version);
        if version.is_some_and(|version| version >= GO_TOOLCHAIN) {
            return Ok("go".into());
        }
        let (major, minor, patch) = GO_TOOLCHAIN;
        let platform = output_of(Command::new("go").args(["env", "GOOS", "GOARCH"])).ok_or("go env does not answer")?;
        let platform = platform.split_whitespace().collect::<Vec<_>>().join("-");
        let module = format!("golang.org/toolchain@v0.0.1-go{major}.{minor}.{patch}.{platform}");
        let dir = self.dir.join("go");
        let cache = dir.join("modules");
        let root = cache.join(&module);
        if !root.join("complete").exists() {
            say(&format!("Go: this machine's is {version:?}; fetching {module}"));
            fs::create_dir_all(&dir)?;
            // `go mod download` wants to stand in a module, and -modcacherw leaves files that can be made executable.
            fs::write(dir.join("go.mod"), "module tools\n")?;
            let mut download = Command::new("go");
            download.args(["mod", "download", "-modcacherw", &module]).current_dir(&dir);
            download.env("GOMODCACHE", &cache).env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
            self::download(&mut download)?;
            // A module's zip knows no executable bit.
            make_executable(&root.join("bin"))?;
            make_executable(&root.join("pkg/tool"))?;
            fs::write(root.join("complete"), "")?;
        }
        Ok(root.join("bin/go"))
    }
}

fn install_debian_packages() -> Outcome {
    let missing: Vec<&str> = DEBIAN_PACKAGES
        .iter()
        .filter(|package| !(package.present)())
        .flat_map(|package| package.names)
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("Debian packages: {}", missing.join(" ")));
    download(as_root("apt-get").args(["update", "-qq"]))?;
    let mut install = as_root("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    download(&mut install)
}

/// Runs a command that fetches something; one that fails is run again.
fn download(command: &mut Command) -> Outcome {
    for _ in 1..DOWNLOAD_ATTEMPTS {
        match run(command) {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!("{error}; once more")),
        }
    }
    run(command)
}

/// Whether a program runs to a successful end.
fn runs(program: &str, arguments: &[&str]) -> bool {
    output_of(Command::new(program).args(arguments)).is_some()
}

/// `program` with the rights of root: directly when we have them, by sudo otherwise.
fn as_root(program: &str) -> Command {
    let is_root = output_of(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    let mut command = if is_root {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg("--preserve-env=DEBIAN_FRONTEND").arg(program);
        command
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn generated_pom(artifacts: &[(&str, &str, &str)]) -> String {
    let mut dependencies = String::new();
    for (group, artifact, version) in artifacts {
        writeln!(
            dependencies,
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
        .expect("writing to a string cannot fail");
    }
    format!(
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>milena</groupId>\n  <artifactId>tools</artifactId>\n  \
         <version>1</version>\n  <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

/// Whether some directory directly below `root` (one per architecture), or `root` itself, has this file.
fn has_file(root: &str, file: &str) -> bool {
    let below = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(PathBuf::from(root)).chain(below).any(|dir| dir.join(file).exists())
}

fn make_executable(dir: &Path) -> Outcome {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// `go1.19.8` as (1, 19, 8).
fn parse_go_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split(['.', '-', ' ']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_go_is_older() {
        assert_eq!(parse_go_version("go1.19.8"), Some((1, 19, 8)));
        assert_eq!(parse_go_version("go1.26"), Some((1, 26, 0)));
        assert_eq!(parse_go_version("go1.26.8-X:nodwarf5"), Some((1, 26, 8)));
        assert!(parse_go_version("go1.19.8") < Some(GO_TOOLCHAIN));
        assert_eq!(parse_go_version("devel"), None);
    }

    #[test]
    fn writes_a_pom_that_names_each_artifact() {
        let pom = generated_pom(&[("org.apache.kafka", "kafka-clients", "2.8.2")]);
        assert!(pom.contains("<artifactId>kafka-clients</artifactId><version>2.8.2</version>"), "{pom}");
    }
}
