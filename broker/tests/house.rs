//! The curtains inside the broker: which module may name which. Crates are walls that Cargo keeps; modules are not.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is in this workspace") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every `use` line below `folder` that names `what`, with its file.
fn uses(folder: &str, what: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for path in sources(&root) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let lines = text.lines().filter(|line| line.trim_start().starts_with("use ") && line.contains(what));
        found.extend(lines.map(|line| {
            format!("{}: {}", path.strip_prefix(&root).expect("it was found below").display(), line.trim())
        }));
    }
    found
}

#[test]
fn handlers_do_not_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handlers");
    let shared = ["mod", "common", "context"];
    let names: Vec<String> = sources(&root)
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| !shared.contains(&name.as_str()))
        .collect();
    assert!(names.len() > 20, "handlers are where this test looks");
    let wrong: Vec<String> = names.iter().flat_map(|name| uses("src/handlers", &format!("super::{name}"))).collect();
    assert!(wrong.is_empty(), "what two handlers share belongs into common.rs or a layer below: {wrong:#?}");
}

#[test]
fn nothing_but_the_server_imports_handlers() {
    let wrong: Vec<String> =
        uses("src", "crate::handlers").into_iter().filter(|line| !line.starts_with("server/")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_layers_below_do_not_know_those_above() {
    for (folder, above) in [
        ("src/handlers", "crate::server"),
        ("src/fetch", "crate::handlers"),
        ("src/fetch", "crate::server"),
        ("src/replica", "crate::handlers"),
        ("src/replica", "crate::server"),
        ("src/replica", "crate::node"),
        ("src/config", "crate::node"),
        ("src/config", "crate::replica"),
    ] {
        assert_eq!(uses(folder, above), Vec::<String>::new(), "{folder} must not know {above}");
    }
}

#[test]
fn sockets_have_one_home_and_raft_another() {
    for folder in ["src", "storage/src", "../controller/src", "../controller/metadata/src", "../protocol/src"] {
        for what in ["TcpListener", "TcpStream", "UdpSocket"] {
            assert_eq!(uses(folder, what), Vec::<String>::new(), "only broker/net names {what}");
        }
    }
    let wrong: Vec<String> =
        uses("../controller/src", "openraft").into_iter().filter(|line| !line.starts_with("raft")).collect();
    assert!(wrong.is_empty(), "only controller/src/raft*.rs name openraft: {wrong:#?}");
}
