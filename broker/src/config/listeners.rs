//! Listeners: where the broker binds, what it advertises, by which protocol; and Kafka's rules for them.
//!
//! `KafkaConfig.validateValues` and `AbstractKafkaConfig.listenerListToEndPoints` of 4.3.1. Two things differ. A
//! listener that `advertised.listeners` does not name and whose host is empty advertises the address that the client
//! reached ([`Advertised::AsReached`]) where Kafka answers with the machine's canonical name. And a controller
//! listener is checked but not bound: this broker's controllers do not speak Kafka's Raft.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use super::{
    ConfigError, ProcessRoles, Voter,
    shipped::Unset,
    values::{Values, split_list},
};

/// Kafka's security protocols. Only [`Plaintext`](Self::Plaintext) is served so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over an unencrypted connection.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The protocol of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The id that the metadata records carry.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A host and port as clients are told them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// A port; 0 means the one that was bound.
    pub port: u16,
}

/// Where a listener accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// All interfaces, IPv6 and IPv4: an empty host.
    Wildcard,
    /// 127.0.0.1 and ::1, when nothing was configured.
    Loopback,
    /// This name or address.
    Host(String),
}

/// What Metadata says about a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// The address that this client's connection reached, with the bound port.
    AsReached,
    /// This one; port 0 stands for the bound port.
    Endpoint(Endpoint),
}

/// One of `listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The name in upper case, as Kafka normalises it.
    pub name: String,
    /// What `listener.security.protocol.map` makes of the name.
    pub protocol: SecurityProtocol,
    /// Where to bind.
    pub bind: Bind,
    /// The port; 0 asks the system for one.
    pub port: u16,
    /// What clients of this listener are told.
    pub advertised: Advertised,
}

/// What the listener keys make together.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) listeners: Vec<Listener>,
    pub(super) controller_listeners: Vec<Listener>,
    pub(super) inter_broker_listener_name: String,
}

/// A `name://host:port` of a list.
#[derive(Debug, Clone)]
struct NamedEndpoint {
    name: String,
    protocol: SecurityProtocol,
    endpoint: Endpoint,
}

/// Reads and checks all keys about listeners.
pub(super) fn network(
    values: &Values,
    set: &BTreeMap<String, String>,
    roles: ProcessRoles,
    unset: Unset,
) -> Result<Network, ConfigError> {
    let controller_names: Vec<String> =
        values.list("controller.listener.names").iter().map(|name| normalize(name)).collect();
    let protocols = security_protocols(values, set, &controller_names)?;
    let inter_broker_listener_name = inter_broker_listener(values, set, &protocols)?;
    let bound = endpoints(values.list("listeners"), &protocols)?;
    check_ports(values.list("listeners"), &bound)?;
    let advertised = match values.optional_list("advertised.listeners") {
        Some(list) => Some(endpoints(list, &protocols)?),
        None => None,
    };
    let is_controller = |endpoint: &NamedEndpoint| controller_names.contains(&endpoint.name);
    let on_loopback = unset == Unset::LoopbackListeners && !set.contains_key("listeners");
    if !on_loopback {
        check_controller_names(roles, &controller_names, &bound)?;
    }
    if roles.broker {
        check_advertised(&bound, advertised.as_deref(), &controller_names, &inter_broker_listener_name)?;
    }
    for endpoint in &bound {
        if endpoint.protocol != SecurityProtocol::Plaintext {
            return Err(ConfigError::NotSupported {
                key: "listeners".to_owned(),
                value: values.list("listeners").join(","),
                reason: format!(
                    "listener {} asks for {}, and this release serves PLAINTEXT only; it does not start rather than serve it open",
                    endpoint.name, endpoint.protocol
                ),
            });
        }
    }
    let listener = |endpoint: &NamedEndpoint| {
        let named = advertised.iter().flatten().find(|advertised| advertised.name == endpoint.name);
        let shown = named.map_or(&endpoint.endpoint, |advertised| &advertised.endpoint);
        let advertised = if named.is_none() && on_loopback {
            Advertised::Endpoint(Endpoint { host: "localhost".to_owned(), port: endpoint.endpoint.port })
        } else if is_wildcard(&shown.host) {
            Advertised::AsReached
        } else {
            Advertised::Endpoint(shown.clone())
        };
        let bind = match endpoint.endpoint.host.as_str() {
            "" if on_loopback => Bind::Loopback,
            "" => Bind::Wildcard,
            host => Bind::Host(host.to_owned()),
        };
        Listener {
            name: endpoint.name.clone(),
            protocol: endpoint.protocol,
            bind,
            port: endpoint.endpoint.port,
            advertised,
        }
    };
    Ok(Network {
        listeners: bound.iter().filter(|endpoint| !is_controller(endpoint)).map(listener).collect(),
        controller_listeners: bound.iter().filter(|endpoint| is_controller(endpoint)).map(listener).collect(),
        inter_broker_listener_name,
    })
}

fn normalize(name: &str) -> String {
    name.trim().to_uppercase()
}

fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// `listener.security.protocol.map`; a controller listener means PLAINTEXT while nobody set the map and no listener
/// is named SSL or SASL.
fn security_protocols(
    values: &Values,
    set: &BTreeMap<String, String>,
    controller_names: &[String],
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    let key = "listener.security.protocol.map";
    let text = values.text(key);
    let mut protocols = BTreeMap::new();
    for entry in split_list(text) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(ConfigError::Invalid(format!(
                "Error parsing configuration property '{key}': {entry} is not of the form name:protocol"
            )));
        };
        let parsed = SecurityProtocol::parse(protocol.trim()).ok_or_else(|| {
            ConfigError::Invalid(format!("Invalid security protocol `{}` defined in {key}", protocol.trim()))
        })?;
        protocols.insert(normalize(name), parsed);
    }
    let names_security = |listener: &String| {
        let name = listener.split("://").next().unwrap_or_default();
        SecurityProtocol::parse(name.trim()).is_some_and(|protocol| protocol != SecurityProtocol::Plaintext)
    };
    if !set.contains_key(key) && !values.list("listeners").iter().any(names_security) {
        for name in controller_names {
            if SecurityProtocol::parse(name).is_none_or(|protocol| protocol == SecurityProtocol::Plaintext) {
                protocols.insert(name.clone(), SecurityProtocol::Plaintext);
            }
        }
    }
    Ok(protocols)
}

fn inter_broker_listener(
    values: &Values,
    set: &BTreeMap<String, String>,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<String, ConfigError> {
    let Some(name) = values.optional_text("inter.broker.listener.name") else {
        return Ok(values.text("security.inter.broker.protocol").to_owned());
    };
    if set.contains_key("security.inter.broker.protocol") {
        return Err(ConfigError::Invalid(
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".to_owned(),
        ));
    }
    let name = normalize(name);
    if protocols.contains_key(&name) {
        Ok(name)
    } else {
        Err(ConfigError::Invalid(format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in listener.security.protocol.map."
        )))
    }
}

fn shown(list: &[String]) -> String {
    format!("[{}]", list.join(", "))
}

fn endpoints(
    list: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Vec<NamedEndpoint>, ConfigError> {
    let refused = |reason: String| {
        ConfigError::Invalid(format!("Error creating broker listeners from '{}': {reason}", shown(list)))
    };
    let mut endpoints: Vec<NamedEndpoint> = Vec::with_capacity(list.len());
    for text in list {
        let (name, endpoint) =
            parse_listener(text).ok_or_else(|| refused(format!("Unable to parse {text} to a broker endpoint")))?;
        let protocol = *protocols
            .get(&name)
            .ok_or_else(|| refused(format!("No security protocol defined for listener {name}")))?;
        endpoints.push(NamedEndpoint { name, protocol, endpoint });
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoints[..index].iter().any(|earlier| earlier.name == endpoint.name) {
            return Err(refused(format!("Each listener must have a different name, listeners: {}", shown(list))));
        }
    }
    Ok(endpoints)
}

fn check_ports(list: &[String], endpoints: &[NamedEndpoint]) -> Result<(), ConfigError> {
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.endpoint.port != 0) {
        let port = endpoint.endpoint.port;
        let hosts: Vec<_> = endpoints
            .iter()
            .filter(|other| other.endpoint.port == port)
            .map(|other| other.endpoint.host.parse::<IpAddr>().ok())
            .collect();
        let reason = match hosts.as_slice() {
            [_] => continue,
            [Some(one), Some(other)] if one.is_ipv4() != other.is_ipv4() => continue,
            [Some(_), Some(_)] => format!(
                "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: {}, port: {port}",
                shown(list)
            ),
            _ => format!("Each listener must have a different port, listeners: {}", shown(list)),
        };
        return Err(ConfigError::Invalid(format!("Error creating broker listeners from '{}': {reason}", shown(list))));
    }
    Ok(())
}

/// A controller's listener names must be listeners. Kafka also demands that there are some; a controller here has no
/// listener of Kafka's kind, so none is needed.
fn check_controller_names(
    roles: ProcessRoles,
    controller_names: &[String],
    bound: &[NamedEndpoint],
) -> Result<(), ConfigError> {
    if !roles.controller || controller_names.is_empty() {
        return Ok(());
    }
    let found = controller_names.iter().filter(|name| bound.iter().any(|endpoint| endpoint.name == **name)).count();
    if found == 0 {
        return Err(ConfigError::Requirement(
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration \
             when running the KRaft controller role"
                .to_owned(),
        ));
    }
    if found < controller_names.len() {
        return Err(ConfigError::Requirement(
            "controller.listener.names must only contain values appearing in the 'listeners' configuration when \
             running the KRaft controller role"
                .to_owned(),
        ));
    }
    Ok(())
}

fn check_advertised(
    bound: &[NamedEndpoint],
    advertised: Option<&[NamedEndpoint]>,
    controller_names: &[String],
    inter_broker_listener_name: &str,
) -> Result<(), ConfigError> {
    let names = |endpoints: &[&NamedEndpoint]| {
        endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(",")
    };
    let for_clients: Vec<&NamedEndpoint> =
        advertised.unwrap_or(bound).iter().filter(|endpoint| !controller_names.contains(&endpoint.name)).collect();
    if for_clients.is_empty() {
        return Err(ConfigError::Requirement(
            "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?"
                .to_owned(),
        ));
    }
    if let Some(advertised) = advertised {
        if advertised.iter().any(|endpoint| endpoint.endpoint.host == "0.0.0.0") {
            return Err(ConfigError::Requirement(
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                    .to_owned(),
            ));
        }
        if advertised.iter().any(|endpoint| !bound.iter().any(|bound| bound.name == endpoint.name)) {
            return Err(ConfigError::Requirement(format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {}. The valid options based on the current configuration are {}",
                names(&advertised.iter().collect::<Vec<_>>()),
                names(&bound.iter().collect::<Vec<_>>())
            )));
        }
    }
    if !for_clients.iter().any(|endpoint| endpoint.name == inter_broker_listener_name) {
        return Err(ConfigError::Requirement(format!(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
             based on currently configured listeners are {}",
            names(&for_clients)
        )));
    }
    Ok(())
}

/// `name://host:port`, the host perhaps in brackets, perhaps empty.
fn parse_listener(text: &str) -> Option<(String, Endpoint)> {
    let (name, address) = text.split_once("://")?;
    let endpoint = parse_address(address)?;
    (!name.trim().is_empty()).then(|| (normalize(name), endpoint))
}

fn parse_address(address: &str) -> Option<Endpoint> {
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let valid = |char: char| char.is_ascii_alphanumeric() || "-%._:".contains(char);
    let port = port.parse().ok()?;
    host.chars().all(valid).then(|| Endpoint { host: host.to_owned(), port })
}

/// One of `controller.quorum.voters`: `id@host:port`.
pub(super) fn parse_voter(entry: &str) -> Result<Voter, ConfigError> {
    let key = "controller.quorum.voters";
    let form = "Each entry should be in the form `{id}@{host}:{port}`.";
    let Some((id, address)) = entry.split_once('@') else {
        return Err(ConfigError::Invalid(format!("Invalid configuration value for {key}. {form}")));
    };
    let node_id = id
        .trim()
        .parse()
        .map_err(|_| ConfigError::Invalid(format!("Failed to parse voter ID as an integer from {id}. {form}")))?;
    let endpoint = parse_address(address).filter(|endpoint| !endpoint.host.is_empty()).ok_or_else(|| {
        ConfigError::Invalid(format!(
            "Failed to parse host name from entry {entry} for the configuration {key}. {form}"
        ))
    })?;
    if endpoint.host == "0.0.0.0" {
        return Err(ConfigError::Invalid(format!("Host string ({}) is not routeable", endpoint.host)));
    }
    Ok(Voter { node_id, host: endpoint.host, port: endpoint.port })
}

/// One of `controller.quorum.bootstrap.servers`: `host:port`.
pub(super) fn parse_bootstrap_server(entry: &str) -> Result<Endpoint, ConfigError> {
    parse_address(entry).filter(|endpoint| !endpoint.host.is_empty()).ok_or_else(|| {
        ConfigError::Invalid(format!(
            "Failed to parse host name from {entry} for the configuration controller.quorum.bootstrap.servers. Each \
             entry should be in the form \"{{host}}:{{port}}\""
        ))
    })
}
