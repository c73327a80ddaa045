//! A disk in memory that does what disks do at their worst: forgets what was not synced, tears it, is full, breaks.
//!
//! Each file keeps the bytes of its last sync beside those written; each directory the names of its last sync beside the current ones. A process that dies
//! loses nothing. A power cut keeps, of everything that was not synced, a part chosen by a seed: sectors of 512 bytes, lengths and names independently.
//! Handles from before a crash are dead. The same seed and the same calls give the same disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use milena_protocol::file_range::FileSource;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{DirEntry, Disk, DiskFile, DiskLock, Metadata, Open, Space};

const SECTOR_BYTES: usize = 512;

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies: every byte written and every name stays.
    Process,
    /// The power fails: of what was not synced a part chosen by this seed stays.
    Power(u64),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one operation fails with EIO; a write may have happened in part.
    Broken,
    /// Writes fail with ENOSPC, after a part of them, and nothing new is created, until the fault is cleared.
    Full,
    /// This one operation fails with ENOSPC, a sync, too: room that is only looked for when pages are written back.
    FullOnce,
    /// The machine stops in the middle of this operation: it and all later ones fail. [`SimDisk::crash`] starts it again.
    Stop,
}

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    nodes: Vec<Node>,
    /// Grows with each crash: older handles and locks are dead.
    life: u64,
    locks: BTreeMap<usize, u64>,
    /// Operations that change something, so far.
    operations: u64,
    faults: Vec<(u64, Fault)>,
    /// Reads of file bytes so far, and which of them fails with EIO.
    reads: u64,
    failing_read: Option<u64>,
    stopped: bool,
    random: SmallRng,
}

#[derive(Clone)]
enum Node {
    File { bytes: Vec<u8>, synced: Vec<u8> },
    Dir { names: BTreeMap<String, usize>, synced: BTreeMap<String, usize> },
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk. The seed decides where a failing write is cut.
    pub fn new(seed: u64) -> SimDisk {
        let root = Node::Dir { names: BTreeMap::new(), synced: BTreeMap::new() };
        let state = State {
            nodes: vec![root],
            life: 0,
            locks: BTreeMap::new(),
            operations: 0,
            faults: Vec::new(),
            reads: 0,
            failing_read: None,
            stopped: false,
            random: SmallRng::seed_from_u64(seed),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// A disk of its own with the same content, faults and random state.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(self.state.lock().clone())) }
    }

    /// How many operations have changed something.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The changing operation number `operations() + after` meets `fault`.
    pub fn fail_after(&self, after: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.faults = vec![(state.operations + after, fault)];
    }

    /// As [`SimDisk::fail_after`], besides the faults that are to come already.
    pub fn also_fail_after(&self, after: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.operations + after;
        state.faults.push((at, fault));
    }

    /// How many times bytes of a file were read.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// The read number `reads() + after` fails with EIO, once.
    pub fn fail_read_after(&self, after: u64) {
        let mut state = self.state.lock();
        state.failing_read = Some(state.reads + after);
    }

    /// No fault any more.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.failing_read = None;
    }

    /// Stop the machine and start it again.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.state.lock();
        state.life += 1;
        state.locks.clear();
        state.faults.clear();
        state.failing_read = None;
        state.stopped = false;
        if let Crash::Power(seed) = crash {
            let mut random = SmallRng::seed_from_u64(seed);
            for node in &mut state.nodes {
                node.lose_power(&mut random);
            }
        }
    }

    /// The bytes of a file, for tests that look at them or change them.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        match state.nodes.get(state.find(path).ok()?)? {
            Node::File { bytes, .. } => Some(bytes.clone()),
            Node::Dir { .. } => None,
        }
    }

    /// Replace the bytes of a file, synced: what a test does to a disk behind the broker's back.
    ///
    /// # Panics
    /// If the directory does not exist.
    pub fn set_bytes(&self, path: &Path, content: &[u8]) {
        let mut state = self.state.lock();
        let index = state.find(path).unwrap_or_else(|_| {
            let node = state.add(Node::File { bytes: Vec::new(), synced: Vec::new() });
            let (parent, name) = state.parent(path).expect("the directory exists");
            if let Some(Node::Dir { names, synced }) = state.nodes.get_mut(parent) {
                names.insert(name.clone(), node);
                synced.insert(name, node);
            }
            node
        });
        state.nodes[index] = Node::File { bytes: content.to_vec(), synced: content.to_vec() };
    }

    /// All files, with their bytes, below a directory.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state.lock();
        let mut files = BTreeMap::new();
        let mut open = vec![(PathBuf::from("/"), 0)];
        while let Some((path, index)) = open.pop() {
            match &state.nodes[index] {
                Node::File { bytes, .. } => _ = files.insert(path, bytes.clone()),
                Node::Dir { names, .. } => open.extend(names.iter().map(|(name, &index)| (path.join(name), index))),
            }
        }
        files
    }
}

impl Node {
    fn lose_power(&mut self, random: &mut SmallRng) {
        match self {
            Node::File { bytes, synced } => {
                if bytes == synced {
                    return;
                }
                let (short, long) = (bytes.len().min(synced.len()), bytes.len().max(synced.len()));
                let len = if random.random_bool(0.3) { synced.len() } else { random.random_range(short..=long) };
                let mut after = vec![0; len];
                for (index, sector) in after.chunks_mut(SECTOR_BYTES).enumerate() {
                    let at = index * SECTOR_BYTES;
                    let source = if random.random_bool(0.5) { &*bytes } else { &*synced };
                    let end = source.len().min(at + sector.len());
                    if let Some(kept) = source.get(at..end) {
                        sector[..kept.len()].copy_from_slice(kept);
                    }
                }
                bytes.clone_from(&after);
                *synced = after;
            }
            Node::Dir { names, synced } => {
                let all: Vec<String> = names.keys().chain(synced.keys()).cloned().collect();
                let mut after = BTreeMap::new();
                for name in all {
                    let (new, old) = (names.get(&name), synced.get(&name));
                    let kept = if new == old || random.random_bool(0.5) { new } else { old };
                    if let Some(&kept) = kept {
                        after.entry(name).or_insert(kept);
                    }
                }
                names.clone_from(&after);
                *synced = after;
            }
        }
    }
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

impl State {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn names(path: &Path) -> Vec<String> {
        let normal = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        });
        normal.collect()
    }

    fn child(&self, dir: usize, name: &str) -> io::Result<usize> {
        match self.nodes.get(dir) {
            Some(Node::Dir { names, .. }) => names.get(name).copied().ok_or_else(not_found),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        Self::names(path).iter().try_fold(0, |dir, name| self.child(dir, name))
    }

    fn parent(&self, path: &Path) -> io::Result<(usize, String)> {
        let mut names = Self::names(path);
        let name = names.pop().ok_or_else(not_found)?;
        let dir = names.iter().try_fold(0, |dir, name| self.child(dir, name))?;
        Ok((dir, name))
    }

    fn dir_mut(&mut self, dir: usize) -> io::Result<&mut BTreeMap<String, usize>> {
        match self.nodes.get_mut(dir) {
            Some(Node::Dir { names, .. }) => Ok(names),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    /// Count a changing operation and let its fault happen. `Some(error)`: do a part of it, then fail with this.
    fn change(&mut self) -> io::Result<Option<io::Error>> {
        if self.stopped {
            return Err(stopped());
        }
        let number = self.operations;
        self.operations += 1;
        let meets = |fault| self.faults.iter().any(|&(at, kind)| kind == fault && number == at);
        if self.faults.iter().any(|&(at, kind)| kind == Fault::Stop && number >= at) {
            self.stopped = true;
            return Ok(Some(stopped()));
        }
        Ok(if meets(Fault::Broken) {
            Some(io::Error::from_raw_os_error(5))
        } else {
            meets(Fault::FullOnce).then(|| io::Error::from_raw_os_error(28))
        })
    }

    fn is_full(&self) -> bool {
        self.faults.iter().any(|&(at, kind)| kind == Fault::Full && self.operations > at)
    }

    /// A changing operation that happens or does not.
    fn change_whole(&mut self) -> io::Result<()> {
        match self.change()? {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(stopped());
        }
        let index = match state.find(path) {
            Ok(index) if matches!(state.nodes.get(index), Some(Node::File { .. })) => index,
            Ok(_) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && how == Open::Create => {
                let (parent, name) = state.parent(path)?;
                state.change_whole()?;
                if state.is_full() {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                let index = state.add(Node::File { bytes: Vec::new(), synced: Vec::new() });
                state.dir_mut(parent)?.insert(name, index);
                index
            }
            Err(error) => return Err(error),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), index, life: state.life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let index = state.find(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (state.parent(from)?, state.parent(to)?);
        state.change_whole()?;
        state.dir_mut(from_dir)?.remove(&from_name);
        state.dir_mut(to_dir)?.insert(to_name, index);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.find(path)?;
        let (dir, name) = state.parent(path)?;
        state.change_whole()?;
        state.dir_mut(dir)?.remove(&name);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut dir = 0;
        for name in State::names(path) {
            dir = match state.child(dir, &name) {
                Ok(child) => child,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    state.change_whole()?;
                    if state.is_full() {
                        return Err(io::Error::from(io::ErrorKind::StorageFull));
                    }
                    let child = state.add(Node::Dir { names: BTreeMap::new(), synced: BTreeMap::new() });
                    state.dir_mut(dir)?.insert(name, child);
                    child
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// One name after the other, last first: no order is promised.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        for entry in self.read_dir(path)?.iter().rev() {
            let path = path.join(&entry.name);
            if entry.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        self.remove_file(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        let index = state.find(path)?;
        let Some(Node::Dir { names, .. }) = state.nodes.get(index) else {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        };
        let entry = |(name, &index): (&String, &usize)| match state.nodes.get(index) {
            Some(Node::File { bytes, .. }) => DirEntry { name: name.clone(), is_dir: false, len: bytes.len() as u64 },
            _ => DirEntry { name: name.clone(), is_dir: true, len: 0 },
        };
        Ok(names.iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.state.lock();
        let index = state.find(path)?;
        Ok(match state.nodes.get(index) {
            Some(Node::File { bytes, .. }) => Metadata { is_dir: false, len: bytes.len() as u64, modified: 0 },
            _ => Metadata { is_dir: true, len: 0, modified: 0 },
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let index = state.find(path)?;
        state.change_whole()?;
        match state.nodes.get_mut(index) {
            Some(Node::Dir { names, synced }) => synced.clone_from(names),
            _ => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = self.open(path, Open::Create)?;
        drop(file);
        let mut state = self.state.lock();
        let (index, life) = (state.find(path)?, state.life);
        if state.locks.get(&index) == Some(&life) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        state.locks.insert(index, life);
        Ok(Box::new(SimLock { disk: self.clone(), index, life }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 40, usable_bytes: 1 << 39 })
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    index: usize,
    life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.locks.get(&self.index) == Some(&self.life) {
            state.locks.remove(&self.index);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    index: usize,
    life: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.life != self.life || state.stopped {
            return Err(stopped());
        }
        act(&mut state)
    }

    fn bytes<'a>(&self, state: &'a mut State) -> &'a mut Vec<u8> {
        match state.nodes.get_mut(self.index) {
            Some(Node::File { bytes, .. }) => bytes,
            _ => unreachable!("only files are opened"),
        }
    }
}

impl FileSource for SimFile {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        if self.read_at_most(buffer, position)? < buffer.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(self.bytes(state).len() as u64))
    }

    fn write_all_at(&self, content: &[u8], position: u64) -> io::Result<()> {
        self.with(|state| {
            let mut fails = state.change()?;
            if fails.is_none() && state.is_full() {
                fails = Some(io::Error::from(io::ErrorKind::StorageFull));
            }
            let written = if fails.is_some() { state.random.random_range(0..=content.len()) } else { content.len() };
            let bytes = self.bytes(state);
            let start = usize::try_from(position).map_err(io::Error::other)?;
            if written > 0 {
                let end = start + written;
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(&content[..written]);
            }
            fails.map_or(Ok(()), Err)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.change_whole()?;
            let len = usize::try_from(len).map_err(io::Error::other)?;
            self.bytes(state).resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.change_whole()?;
            if let Some(Node::File { bytes, synced }) = state.nodes.get_mut(self.index) {
                synced.clone_from(bytes);
            }
            Ok(())
        })
    }

    fn read_at_most(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|state| {
            state.reads += 1;
            if state.failing_read == Some(state.reads - 1) {
                return Err(io::Error::from_raw_os_error(5));
            }
            let bytes = self.bytes(state);
            let start = usize::try_from(position).map_err(io::Error::other)?.min(bytes.len());
            let read = buffer.len().min(bytes.len() - start);
            buffer[..read].copy_from_slice(&bytes[start..start + read]);
            Ok(read)
        })
    }
}

#[cfg(test)]
mod tests;
