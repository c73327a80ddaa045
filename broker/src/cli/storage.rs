//! `milena storage`: what `kafka-storage.sh` of 4.3.1 accepts, in its words, with its exit codes.
//!
//! Formatting writes `meta.properties` and nothing else: the metadata log is made at the first start, with the features
//! that this broker serves. So `--release-version` and `--feature` are checked and shown, but choose nothing.

mod meta_properties;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use milena_protocol::kafka_uuid;
use uuid::Uuid;

use crate::config::{ServerConfig, Sources, load};

use super::{
    fail,
    features::{FEATURES, LATEST, MetadataVersion},
    say,
};
use meta_properties::MetaProperties;

/// The subcommands of kafka-storage.sh.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Get information about the Kafka log directories on this node.
    Info {
        /// The Kafka configuration file to use.
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Format the Kafka log directories on this node.
    Format(FormatArguments),
    /// Look up the corresponding features for a given metadata version.
    VersionMapping {
        /// The release version to use for the corresponding feature mapping.
        #[arg(long, short)]
        release_version: Option<String>,
    },
    /// Look up dependencies for a given feature version.
    FeatureDependencies {
        /// The features and their versions, in feature=version format.
        #[arg(long, short, required = true)]
        feature: Vec<String>,
    },
    /// Print a random UUID.
    RandomUuid,
}

#[derive(Debug, Args)]
pub(super) struct FormatArguments {
    /// The Kafka configuration file to use.
    #[arg(long, short)]
    config: PathBuf,
    /// The cluster ID to use.
    #[arg(long, short = 't', allow_hyphen_values = true)]
    cluster_id: String,
    /// A SCRAM_CREDENTIAL to add to the __cluster_metadata log
    #[arg(long, short = 'S')]
    add_scram: Vec<String>,
    /// When this option is passed, the format command will skip over already formatted directories rather than failing.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// The release version to use for the initial feature settings.
    #[arg(long, short)]
    release_version: Option<String>,
    /// The setting to use for a specific feature, in feature=level format.
    #[arg(long, short)]
    feature: Vec<String>,
    /// Used to initialize a controller as a single-node dynamic quorum.
    #[arg(long, short, group = "quorum")]
    standalone: bool,
    /// Used to initialize a server without specifying a dynamic quorum.
    #[arg(long, short = 'N', group = "quorum")]
    no_initial_controllers: bool,
    /// Used to initialize a server with the specified dynamic quorum.
    #[arg(long, short = 'I', group = "quorum")]
    initial_controllers: Option<String>,
}

/// Runs one of them.
pub(super) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Info { config } => return info(config),
        Command::Format(arguments) => format(arguments),
        Command::VersionMapping { release_version } => version_mapping(release_version.as_deref()),
        Command::FeatureDependencies { feature } => feature_dependencies(feature),
        Command::RandomUuid => {
            say(&kafka_uuid::encode(random_uuid()));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

/// A random id that Kafka would hand out, too.
fn random_uuid() -> Uuid {
    loop {
        if let Some(id) = kafka_uuid::from_random_bytes(rand::random()) {
            return id;
        }
    }
}

fn load_file(file: &Path) -> Result<ServerConfig, String> {
    load(&Sources { file: Some(file.to_path_buf()), ..Sources::default() })
        .map(|loaded| loaded.config)
        .map_err(|error| error.to_string())
}

/// All directories that are formatted: the log dirs and the one of the metadata.
fn directories(config: &ServerConfig) -> BTreeSet<PathBuf> {
    config.log_dirs.iter().cloned().chain([config.metadata_log_dir.clone()]).collect()
}

fn info(file: &Path) -> ExitCode {
    let config = match load_file(file) {
        Ok(config) => config,
        Err(message) => return fail(&message),
    };
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for directory in directories(&config) {
        let shown = directory.display();
        if !directory.is_dir() {
            let what = if directory.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{shown} {what}"));
            continue;
        }
        found.push(shown.to_string());
        match MetaProperties::read(&directory) {
            Ok(None) => problems.push(format!("{shown} is not formatted.")),
            Ok(Some(meta)) => match &first {
                None => first = Some(meta),
                Some(first) if first.cluster_id() != meta.cluster_id() => {
                    problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                }
                Some(first) if first.node_id() != meta.node_id() => {
                    problems.push("Mismatched node IDs between storage directories.".to_owned());
                }
                Some(_) => {}
            },
            Err(error) => problems.push(format!("Error loading {shown}/meta.properties: {error}")),
        }
    }
    if first.as_ref().is_some_and(|meta| meta.version() == "0") {
        problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are formatted \
             for legacy mode."
                .to_owned(),
        );
    }
    let section = |title: &str, lines: &[String]| {
        say(title);
        for line in lines {
            say(&format!("  {line}"));
        }
        say("");
    };
    if !found.is_empty() {
        section(if found.len() == 1 { "Found log directory:" } else { "Found log directories:" }, &found);
    }
    if let Some(meta) = &first {
        say(&format!("Found metadata: {meta}"));
        say("");
    }
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    section(if problems.len() == 1 { "Found problem:" } else { "Found problems:" }, &problems);
    ExitCode::FAILURE
}

fn format(arguments: &FormatArguments) -> Result<(), String> {
    let config = load_file(&arguments.config)?;
    let version = arguments.release_version.as_deref().map_or(Ok(LATEST), MetadataVersion::parse)?;
    if config.quorum.voters.is_empty() {
        if !arguments.standalone && !arguments.no_initial_controllers && arguments.initial_controllers.is_none() {
            return Err("Because controller.quorum.voters is not set on this controller, you must specify one of the \
                        following: --standalone, --initial-controllers, or --no-initial-controllers."
                .to_owned());
        }
    } else if arguments.standalone || arguments.initial_controllers.is_some() {
        return Err("You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                    --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and \
                    specify controller.quorum.bootstrap.servers instead."
            .to_owned());
    }
    if !arguments.add_scram.is_empty() {
        return Err("--add-scram is not supported: this release has no SASL, so the credential would protect nothing"
            .to_owned());
    }
    if arguments.initial_controllers.as_deref().is_some_and(|controllers| controllers.contains(',')) {
        return Err("--initial-controllers is not supported for several nodes: this release runs one".to_owned());
    }
    let levels = levels(version, &arguments.feature)?;
    let mut empty = Vec::new();
    let mut formatted = Vec::new();
    for directory in directories(&config) {
        let read = MetaProperties::read(&directory);
        match read.map_err(|error| format!("Error loading {}/meta.properties: {error}", directory.display()))? {
            Some(meta) => formatted.push((directory, meta)),
            None => empty.push(directory),
        }
    }
    for (directory, meta) in &formatted {
        let file = directory.join("meta.properties");
        let expected = config.node_id.to_string();
        if let Some(found) = meta.cluster_id().filter(|found| *found != arguments.cluster_id) {
            return Err(format!(
                "Invalid cluster.id in: {}. Expected {}, but read {found}",
                file.display(),
                arguments.cluster_id
            ));
        }
        if let Some(found) = meta.node_id().filter(|found| *found != expected) {
            return Err(format!("Invalid node.id in: {}. Expected {expected}, but read {found}", file.display()));
        }
    }
    if let Some((directory, _)) = formatted.first().filter(|_| !arguments.ignore_formatted) {
        return Err(format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the \
             others.",
            directory.display()
        ));
    }
    if empty.is_empty() {
        say("All of the log directories are already formatted.");
        return Ok(());
    }
    say(&format!("Bootstrap metadata: {}", bootstrap_metadata(version, &levels)));
    for directory in empty {
        let dynamic = config.quorum.voters.is_empty() && !arguments.no_initial_controllers;
        let kind = match (directory == config.metadata_log_dir, dynamic) {
            (false, _) => "data directory",
            (true, false) => "metadata directory",
            (true, true) => "dynamic metadata voter directory",
        };
        say(&format!("Formatting {kind} {} with metadata.version {}.", directory.display(), version.name));
        MetaProperties::new(&arguments.cluster_id, config.node_id, &kafka_uuid::encode(random_uuid()))
            .write(&directory)
            .map_err(|error| format!("Error while writing meta.properties file {}: {error}", directory.display()))?;
    }
    Ok(())
}

/// The features above level 0 that a cluster of this version would get, changed by `--feature`.
fn levels(version: MetadataVersion, features: &[String]) -> Result<Vec<(&'static str, i16)>, String> {
    let mut levels: Vec<(&str, i16)> =
        FEATURES.iter().map(|(name, needed)| (*name, version.default_level(needed))).collect();
    for text in features {
        let (name, level) = text
            .split_once('=')
            .ok_or_else(|| format!("Can't parse feature=level string {text}: equals sign not found."))?;
        let (name, level) = (name.trim(), level.trim());
        let parsed: i16 = level
            .parse()
            .map_err(|_| format!("Can't parse feature=level string {text}: unable to parse {level} as a short."))?;
        if name == "metadata.version" {
            return Err("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".to_owned());
        }
        let Some(known) = levels.iter_mut().find(|(known, _)| *known == name) else {
            let mut supported: Vec<&str> = FEATURES.iter().map(|(name, _)| *name).collect();
            supported.sort_unstable();
            return Err(format!("Unsupported feature: {name}. Supported features are: {}", supported.join(", ")));
        };
        known.1 = parsed;
    }
    levels.sort_unstable();
    levels.retain(|(name, level)| *level > 0 && *name != "kraft.version");
    Ok(levels)
}

fn bootstrap_metadata(version: MetadataVersion, levels: &[(&str, i16)]) -> String {
    let records: Vec<String> = [("metadata.version", version.level)]
        .iter()
        .chain(levels)
        .map(|(name, level)| {
            format!("ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)")
        })
        .collect();
    format!(
        "BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        records.join(", "),
        version.level
    )
}

fn version_mapping(release_version: Option<&str>) -> Result<(), String> {
    let version = release_version.map_or(Ok(LATEST), MetadataVersion::parse)?;
    // Kafka repeats the release as it was asked for.
    say(&format!("metadata.version={} ({})", version.level, release_version.unwrap_or(version.name)));
    for (name, needed) in FEATURES {
        say(&format!("{name}={}", version.default_level(needed)));
    }
    Ok(())
}

fn feature_dependencies(features: &[String]) -> Result<(), String> {
    for text in features {
        let (name, level) = text.split_once('=').ok_or_else(|| {
            format!("Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')")
        })?;
        let parsed: i16 =
            level.trim().parse().map_err(|_| format!("Invalid version format: {level} for feature {name}"))?;
        if name == "metadata.version" {
            let version =
                MetadataVersion::of_level(parsed).ok_or_else(|| format!("Unknown metadata.version {parsed}"))?;
            say(&format!("{name}={parsed} ({}) has no dependencies.", version.name));
            continue;
        }
        let (_, needed) =
            FEATURES.iter().find(|(known, _)| *known == name).ok_or_else(|| format!("Unknown feature: {name}"))?;
        if parsed < 0 || parsed as usize > needed.len() {
            return Err(format!("Feature level {parsed} is not supported for feature {name}"));
        }
        if name == "eligible.leader.replicas.version" && parsed == 1 {
            say(&format!("{name}={parsed} requires:"));
            say("    metadata.version=23 (4.0-IV1)");
        } else {
            say(&format!("{name}={parsed} has no dependencies."));
        }
    }
    Ok(())
}
