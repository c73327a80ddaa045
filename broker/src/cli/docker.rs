//! What the official image's run script makes of its environment (`/etc/kafka/docker/{run,configureDefaults,configure}`).
//!
//! A mounted `/mnt/shared/config/server.properties` is the file, the variables lie over it. Without one the variables
//! are laid over the shipped values. A container's loopback reaches nobody: without listeners it binds to all
//! interfaces, and advertises localhost as the official image does, which is where a published port is found.
//! Absent: the image's TLS and SASL variables, which ask for listeners that are not served.

use std::path::{Path, PathBuf};

use crate::config::Sources;

const MOUNTED: &str = "/mnt/shared/config/server.properties";
/// The cluster id that the official image falls back to.
const DEFAULT_CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

/// The sources of a start in a container.
pub(super) fn sources(environment: Vec<(String, String)>, arguments: Vec<(String, String)>) -> Sources {
    from_parts(environment, arguments, Some(PathBuf::from(MOUNTED)).filter(|file| Path::exists(file)))
}

fn from_parts(
    mut environment: Vec<(String, String)>,
    arguments: Vec<(String, String)>,
    mounted: Option<PathBuf>,
) -> Sources {
    for (name, value) in arguments {
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
    }
    let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mut added = Vec::new();
    if value("CLUSTER_ID").is_none() {
        added.push(("CLUSTER_ID".to_owned(), DEFAULT_CLUSTER_ID.to_owned()));
    }
    if value("KAFKA_LISTENERS").is_none() {
        match value("KAFKA_ADVERTISED_LISTENERS") {
            Some(advertised) => added.push(("KAFKA_LISTENERS".to_owned(), on_all_interfaces(&advertised))),
            None if mounted.is_none() => {
                added.push(("KAFKA_LISTENERS".to_owned(), "PLAINTEXT://:9092".to_owned()));
                added.push(("KAFKA_ADVERTISED_LISTENERS".to_owned(), "PLAINTEXT://localhost:9092".to_owned()));
            }
            None => {}
        }
    }
    environment.extend(added);
    Sources { file: mounted, environment, overrides: Vec::new() }
}

/// `PLAINTEXT://example.com:9092` becomes `PLAINTEXT://0.0.0.0:9092`.
fn on_all_interfaces(advertised: &str) -> String {
    advertised
        .split(',')
        .filter(|listener| !listener.trim().is_empty())
        .map(|listener| match (listener.split_once("://"), listener.rsplit_once(':')) {
            (Some((name, _)), Some((_, port))) => format!("{name}://0.0.0.0:{port}"),
            _ => listener.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn listeners_are_derived_from_what_is_advertised() {
        let environment = vec![pair("KAFKA_ADVERTISED_LISTENERS", "A://h:1,B://[::1]:2,"), pair("X", "1")];
        let sources = from_parts(environment, vec![pair("X", "2"), pair("CLUSTER_ID", "c")], None);
        assert_eq!(
            sources.environment,
            [
                pair("KAFKA_ADVERTISED_LISTENERS", "A://h:1,B://[::1]:2,"),
                pair("X", "2"),
                pair("CLUSTER_ID", "c"),
                pair("KAFKA_LISTENERS", "A://0.0.0.0:1,B://0.0.0.0:2"),
            ]
        );
    }

    #[test]
    fn a_bare_container_serves_all_interfaces_under_the_images_cluster_id() {
        let sources = from_parts(Vec::new(), Vec::new(), None);
        assert_eq!(
            sources.environment,
            [
                pair("CLUSTER_ID", DEFAULT_CLUSTER_ID),
                pair("KAFKA_LISTENERS", "PLAINTEXT://:9092"),
                pair("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092"),
            ]
        );
    }
}
