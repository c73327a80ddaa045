//! How much memory requests and answers may take when nobody says: a quarter of what this process may use.
//!
//! `docs/decisions/0008-memory-of-requests.md` tells why `queued.max.request.bytes` is on where Kafka leaves it off.

use std::fs;
use std::path::Path;

use milena_net::Room;
use rustix::process::{Resource, getrlimit};

use crate::config::ServerConfig;

const QUEUED_MAX: &str = "queued.max.request.bytes";
/// Of the process's memory, the part that requests under way may take.
const PART: u64 = 4;

/// The room that a configuration gives, on this machine.
pub(super) fn room(config: &ServerConfig) -> Room {
    let request_max = config.settings.socket_request_max_bytes.max(1) as usize;
    if config.static_config.contains_key(QUEUED_MAX) {
        return match usize::try_from(config.settings.queued_max_request_bytes) {
            Ok(0) | Err(_) => Room::UNLIMITED,
            Ok(queued_max) => Room::of(queued_max, request_max),
        };
    }
    let memory = memory_of_this_process();
    let queued_max = usize::try_from(memory / PART).unwrap_or(usize::MAX).max(request_max);
    tracing::info!(
        target: "kafka.network.SocketServer",
        "requests under way may take {queued_max} bytes: {QUEUED_MAX} is not set, and this process may use {memory} bytes"
    );
    Room::of(queued_max, request_max)
}

/// The machine's memory, or what a cgroup or `ulimit -v` leaves of it.
fn memory_of_this_process() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = (machine.totalram as u64).saturating_mul(u64::from(machine.mem_unit));
    let address_space = getrlimit(Resource::As).current;
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_cgroups = cgroup_files(&cgroups).into_iter().filter_map(|file| limit(&fs::read_to_string(file).ok()?));
    of_cgroups.chain(address_space).fold(total, u64::min)
}

/// A cgroup's limit; none is `max`, or in version 1 a number no machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files that limit memory, of the process's own cgroup and of those above it. In a container the path may be one
/// of the host, and the container's own cgroup is mounted at the root.
fn cgroup_files(cgroups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let above = Path::new(path).ancestors();
        files.extend(above.map(|path| format!("{root}/{}/{file}", path.display().to_string().trim_matches('/'))));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_up_to_the_root() {
        assert_eq!(
            cgroup_files("4:memory:/a/b\n3:cpuset:/\n0::/c\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory//memory.limit_in_bytes",
                "/sys/fs/cgroup/c/memory.max",
                "/sys/fs/cgroup//memory.max",
            ]
        );
        assert_eq!(limit("536870912\n"), Some(536_870_912));
        assert_eq!(limit("max\n"), None);
    }

    #[test]
    fn a_value_that_was_set_counts_and_minus_one_is_no_limit() {
        let room_of = |values: &[(&str, &str)]| {
            room(&ServerConfig::from_properties(values.iter().copied().chain([("log.dirs", "x")])).unwrap())
        };
        assert_eq!(room_of(&[(QUEUED_MAX, "-1")]), Room::UNLIMITED);
        assert_eq!(room_of(&[(QUEUED_MAX, "400000000")]), Room::of(400_000_000, 104_857_600));
        assert_eq!(room_of(&[]).large.reserve, 104_857_600);
        assert!(room_of(&[]) != Room::UNLIMITED);
    }
}
