//! Kafka's jars, fetched by Maven into a cache, and the message JSON inside them.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const COPY_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// The path of a jar of `org.apache.kafka`, fetched by Maven if the cache does not have it.
pub(super) fn jar(cache: &Path, artifact: &str, version: &str) -> Result<PathBuf, Box<dyn Error>> {
    let jar = cache.join(format!("{artifact}-{version}.jar"));
    if jar.exists() {
        return Ok(jar);
    }
    fs::create_dir_all(cache)?;
    let status = Command::new("mvn")
        .args(["-q", "-B", COPY_GOAL])
        .arg(format!("-Dartifact=org.apache.kafka:{artifact}:{version}"))
        .arg(format!("-DoutputDirectory={}", cache.display()))
        .status()
        .map_err(|error| format!("mvn cannot be started: {error}"))?;
    if !status.success() || !jar.exists() {
        return Err(format!("mvn did not fetch {artifact} {version}: {status}").into());
    }
    Ok(jar)
}

/// Name and text of every JSON file in a jar that lies in a `message` or `metadata` folder.
pub(super) fn message_files(jar: &Path) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut archive = zip::ZipArchive::new(File::open(jar)?)?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let is_json = Path::new(&name).extension().is_some_and(|extension| extension == "json");
        if is_json && (name.contains("message/") || name.contains("metadata/")) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            files.push((name, text));
        }
    }
    Ok(files)
}
