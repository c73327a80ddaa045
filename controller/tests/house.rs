//! The curtains inside this crate.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

use std::{fs, path::Path};

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Names of the files in `dir` with a line of code that holds `word`.
fn files_naming(dir: &str, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    let names = |text: &str| text.lines().map(str::trim).any(|line| !line.starts_with("//") && line.contains(word));
    let mut files: Vec<_> = found.into_iter().filter(|(_, text)| names(text)).map(|(file, _)| file).collect();
    files.sort();
    files
}

#[test]
fn only_the_raft_files_name_openraft() {
    let expected = ["raft.rs", "raft_log.rs", "raft_network.rs", "raft_state_machine.rs"];
    assert_eq!(files_naming("src", "openraft"), expected);
}

#[test]
fn nothing_reaches_the_file_system_but_through_the_disk() {
    assert_eq!(files_naming("src", "std::fs"), Vec::<String>::new());
    assert_eq!(files_naming("src", "SystemTime"), Vec::<String>::new());
}
