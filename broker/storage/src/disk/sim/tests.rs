//! The simulated disk forgets, tears and fails as it is told to.

use super::*;

fn disk_with(path: &str, synced: &[u8], unsynced: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    let path = Path::new(path);
    let file = disk.open(path, Open::Create).unwrap();
    file.write_all_at(synced, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(unsynced, synced.len() as u64).unwrap();
    disk
}

#[test]
fn a_process_that_dies_loses_nothing_and_its_handles_are_dead() {
    let disk = disk_with("/file", b"synced", b" and not");
    let old = disk.open(Path::new("/file"), Open::Write).unwrap();
    disk.crash(Crash::Process);
    assert_eq!(disk.read(Path::new("/file")).unwrap(), b"synced and not");
    assert!(old.write_all_at(b"zombie", 0).is_err());
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_tears_the_rest() {
    let unsynced = [7; 3000];
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = disk_with("/file", b"synced", &unsynced);
        disk.crash(Crash::Power(seed));
        let bytes = disk.read(Path::new("/file")).unwrap();
        assert!(bytes.starts_with(b"synced"), "seed {seed}");
        lengths.insert(bytes.len());
    }
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn names_that_were_not_synced_may_be_gone_or_old() {
    let outcomes: std::collections::BTreeSet<(bool, bool)> = (0..50)
        .map(|seed| {
            let disk = disk_with("/file", b"x", b"");
            disk.rename(Path::new("/file"), Path::new("/other")).unwrap();
            disk.crash(Crash::Power(seed));
            (disk.metadata(Path::new("/file")).is_ok(), disk.metadata(Path::new("/other")).is_ok())
        })
        .collect();
    assert!(outcomes.len() > 1, "{outcomes:?}");
}

#[test]
fn faults_come_when_told_to() {
    let disk = disk_with("/file", b"x", b"");
    let file = disk.open(Path::new("/file"), Open::Write).unwrap();
    disk.fail_after(1, Fault::Broken);
    file.write_all_at(b"a", 0).unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    disk.fail_after(0, Fault::Full);
    assert_eq!(file.write_all_at(b"abc", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(file.write_all_at(b"abc", 0).is_err());
    disk.heal();
    file.write_all_at(b"abc", 0).unwrap();
    disk.fail_after(0, Fault::Stop);
    assert!(file.sync_data().is_err());
    assert!(disk.read(Path::new("/file")).is_err());
    disk.crash(Crash::Process);
    assert!(disk.read(Path::new("/file")).is_ok());
}

#[test]
fn a_lock_is_held_once_and_released_by_drop_or_crash() {
    let disk = SimDisk::new(0);
    let held = disk.lock(Path::new("/.lock")).unwrap();
    assert_eq!(disk.lock(Path::new("/.lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(held);
    let held = disk.lock(Path::new("/.lock")).unwrap();
    disk.crash(Crash::Process);
    let again = disk.lock(Path::new("/.lock")).unwrap();
    drop(held);
    assert!(disk.lock(Path::new("/.lock")).is_err());
    drop(again);
}
