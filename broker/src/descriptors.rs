//! What the process may open, and how files and connections share it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where there is no limit: more than anybody needs.
const ENOUGH: u64 = 1 << 20;
/// The most that is kept for neither: the metadata log, listeners, files that are being read or written.
const RESERVE_MAX: u64 = 1_024;

/// How many descriptors there are for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Files of logs that stay open between two uses.
    pub(crate) files: usize,
    /// Connections.
    pub(crate) connections: usize,
}

/// Raises the soft limit to the hard one, which costs nothing and is what an operator would do.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // The soft limit works, too.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// The shares under the limit in force.
pub(crate) fn shares() -> Shares {
    share(getrlimit(Resource::Nofile).current.unwrap_or(ENOUGH).min(ENOUGH))
}

/// A third for files, which can be opened again; an eighth in reserve; the rest for connections, which cannot wait.
fn share(limit: u64) -> Shares {
    let files = limit / 3;
    let reserve = (limit / 8).min(RESERVE_MAX);
    Shares { files: files as usize, connections: (limit - files - reserve) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_the_logs() {
        assert_eq!(share(256), Shares { files: 85, connections: 139 });
        assert_eq!(share(20_000), Shares { files: 6_666, connections: 12_310 });
        for limit in 0..5_000 {
            let Shares { files, connections } = share(limit);
            assert!((files + connections) as u64 <= limit);
        }
    }
}
