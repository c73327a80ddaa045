#![no_main]
//! The metadata log's directory and the metadata's records from arbitrary bytes.
//!
//! An input is a byte of flags and files: a kind, a number, a length and bytes. What must hold: opening never panics;
//! what it finds once it finds again; and records that can be decoded can be written and decoded again.

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use milena_controller::fuzzing::{fix_checksums, recover, write};
use milena_fuzz::write_seeds;
use milena_metadata::record::{Record, decode_all, encode_all};
use milena_protocol::schema::{self, Kind, sample};
use milena_storage::disk::Crash;
use milena_storage::{Disk, SimDisk};

const DIR: &str = "/data/milena-metadata";
const FIX_CHECKSUMS: u8 = 1;
const RECORDS: u8 = 2;

fuzz_target!(
    init: write_seeds(seeds),
    |data: &[u8]| {
        let Some((&flags, data)) = data.split_first() else { return };
        if flags & RECORDS != 0 {
            records(data);
        } else {
            directory(flags, data);
        }
    }
);

fn directory(flags: u8, mut data: &[u8]) {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).expect("a directory in memory");
    while let Some((head, rest)) = data.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        let mut bytes = bytes.to_vec();
        let number = u64::from(head[1]);
        if flags & FIX_CHECKSUMS != 0 {
            fix_checksums(number, &mut bytes);
        }
        let name = match head[0] % 3 {
            0 => format!("{number:020}.frames"),
            1 => format!("{number:020}-0000000001.image"),
            _ => format!("{number:020}-0000000001.image.tmp"),
        };
        disk.set_bytes(&Path::new(DIR).join(name), &bytes);
        data = rest;
    }
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = recover(&on, Path::new(DIR));
    disk.crash(Crash::Power(7));
    let again = recover(&on, Path::new(DIR));
    match (found, again) {
        (Ok(found), Ok(again)) => assert_eq!(found, again),
        (Err(_), Err(_)) => {}
        (found, again) => panic!("first {found:?}, then {again:?}"),
    }
}

fn records(bytes: &[u8]) {
    _ = Record::decode(bytes);
    let Ok(records) = decode_all(bytes) else { return };
    let again = decode_all(&encode_all(&records)).expect("what was written here");
    assert_eq!(records, again);
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for message in schema::messages().iter().filter(|message| message.kind == Kind::Metadata) {
        for version in message.versions.iter() {
            let body = sample::message(message, version, 3).bytes;
            // Frame version, key and version as varints; none of them is above 127.
            let record = [&[1, message.key.unwrap_or_default() as u8, version as u8][..], &body].concat();
            if let Ok(record) = Record::decode(&record) {
                let encoded = encode_all(std::slice::from_ref(&record));
                seeds.push((format!("{}-{version}", message.name), [&[RECORDS][..], &encoded].concat()));
                all.push(encoded);
            }
        }
    }
    seeds.push(("all".to_owned(), [&[RECORDS][..], &all.concat()].concat()));
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/data")).expect("a directory in memory");
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    write(&on, Path::new(DIR), &all).expect("no fault");
    let mut input = vec![FIX_CHECKSUMS];
    for (path, bytes) in disk.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number: u64 = name.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or_default();
        input.extend([u8::from(name.ends_with(".image")), number as u8]);
        input.extend((bytes.len() as u16).to_be_bytes());
        input.extend(bytes);
    }
    seeds.push(("directory".to_owned(), input));
    seeds
}
