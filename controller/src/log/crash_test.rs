//! Crashes at every operation of the disk.
