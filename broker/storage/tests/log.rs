//! A log through its public API: what is appended is read, survives reopening, rolls, is deleted and cut.

mod support;

use milena_storage::SimDisk;
use support::*;

#[test]
fn what_is_appended_is_read_and_survives_a_clean_stop() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    let mut log = opener.open();
    assert_eq!(append(&mut log, &["a", "b"]).first_offset, 0);
    assert_eq!(append(&mut log, &["c"]).first_offset, 2);
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(values(&log), expected);
    log.close(NOW).unwrap();
    opener.clean_shutdown = true;
    let (log, report) = opener.try_open().unwrap();
    assert_eq!(report, milena_storage::RecoveryReport::default());
    assert_eq!(values(&log), expected);
    assert_eq!(log.recovery_point(), 3);
}
