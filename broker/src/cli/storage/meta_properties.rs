//! `meta.properties` of a log dir, read and written without opening the dir as a broker does.
//!
//! Java properties, written to a temporary file, synced and renamed, so that a crash leaves the old file or the new one.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use crate::config::properties;

const FILE: &str = "meta.properties";

/// Its keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetaProperties(BTreeMap<String, String>);

impl MetaProperties {
    pub(super) fn new(cluster_id: &str, node_id: i32, directory_id: &str) -> Self {
        let pairs = [
            ("version", "1"),
            ("cluster.id", cluster_id),
            ("node.id", &node_id.to_string()),
            ("directory.id", directory_id),
        ];
        Self(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    /// `None` if there is none in the directory.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(directory.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let properties =
            properties::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some(Self(properties)))
    }

    /// Creates the directory if need be.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let temporary = directory.join(format!("{FILE}.tmp"));
        let mut file = File::create(&temporary)?;
        writeln!(file, "#\n#{}", jiff::Zoned::now().strftime("%a %b %d %H:%M:%S %Z %Y"))?;
        for (key, value) in &self.0 {
            writeln!(file, "{key}={}", escaped(value))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, directory.join(FILE))?;
        File::open(directory)?.sync_all()
    }

    pub(super) fn version(&self) -> &str {
        self.0.get("version").map_or("0", String::as_str)
    }

    pub(super) fn cluster_id(&self) -> Option<&str> {
        self.0.get("cluster.id").map(String::as_str)
    }

    pub(super) fn node_id(&self) -> Option<&str> {
        self.0.get("node.id").or_else(|| self.0.get("broker.id")).map(String::as_str)
    }
}

/// Java's escapes, for the one value that a person chooses: the cluster id.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (index, unit) in value.encode_utf16().enumerate() {
        match char::from_u32(unit.into()) {
            Some(' ') if index == 0 => escaped.push_str("\\ "),
            Some(char @ ('\\' | '=' | ':' | '#' | '!')) => escaped.extend(['\\', char]),
            Some(char @ ' '..='~') => escaped.push(char),
            _ => {
                let _ = fmt::Write::write_fmt(&mut escaped, format_args!("\\u{unit:04X}"));
            }
        }
    }
    escaped
}

impl fmt::Display for MetaProperties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        write!(formatter, "{{{}}}", pairs.join(", "))
    }
}
