//! Everything that costs memory at once, in a process that may have 512 MB.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::client::large_question;
use super::{Broker, Client, Flag};

const LIMIT_BYTES: usize = 512 * 1024 * 1024;
const ANNOUNCED_BYTES: u32 = 100 * 1024 * 1024;

/// What keeps a process within [`LIMIT_BYTES`] on this machine.
struct Limit {
    shell: String,
    cgroup: Option<PathBuf>,
}

impl Limit {
    /// A memory cgroup of version 1 or 2 of its own, else `ulimit -v`.
    fn find() -> Self {
        let name = format!("milena-limits-{}", std::process::id());
        for (root, file) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let dir = PathBuf::from(root).join(&name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            if fs::write(dir.join(file), LIMIT_BYTES.to_string()).is_ok() && dir.join("cgroup.procs").exists() {
                let shell = format!("echo $$ > {}/cgroup.procs || exit 1", dir.display());
                return Self { shell, cgroup: Some(dir) };
            }
            let _ = fs::remove_dir(&dir);
        }
        #[expect(clippy::print_stdout, reason = "which of the two limits was judged")]
        {
            println!("no memory cgroup can be made here: the address space is limited instead");
        }
        // The allocator would reserve 64 MB of addresses for each thread.
        let shell = format!("export MALLOC_ARENA_MAX=2; ulimit -v {}", LIMIT_BYTES / 1024);
        Self { shell, cgroup: None }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(dir) = &self.cgroup {
            // It stays where a process is still in it; the machine forgets it at its next start.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Keeps connections busy until the attack is over; connects anew when one is closed.
fn attack(
    address: &str,
    over: &Flag,
    connections: usize,
    opening: Vec<u8>,
    drip: &'static [u8],
) -> thread::JoinHandle<()> {
    let (address, over) = (address.to_owned(), Arc::clone(over));
    thread::spawn(move || {
        let connect = || {
            let mut socket = TcpStream::connect(&address).ok()?;
            socket.set_nonblocking(true).ok()?;
            // What the sockets' buffers do not hold is not sent.
            let mut sent = 0;
            while let Ok(bytes) = socket.write(&opening[sent..]) {
                sent += bytes;
                if sent == opening.len() {
                    break;
                }
            }
            Some(socket)
        };
        let mut sockets: Vec<Option<TcpStream>> = (0..connections).map(|_| connect()).collect();
        while !over.load(Ordering::Relaxed) {
            for socket in &mut sockets {
                let alive = socket.as_mut().is_some_and(|socket| match socket.write(drip) {
                    Ok(_) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                });
                if !alive {
                    *socket = connect();
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    })
}

fn value(index: i64, bytes: usize) -> Vec<u8> {
    let mut value = format!("value {index} ").into_bytes();
    value.resize(bytes, b'.');
    value
}

#[test]
fn lives_through_all_of_it_in_512_mb() {
    let limit = Limit::find();
    let broker = Broker::start(&limit.shell, &[]);
    let mut client = broker.connect();
    client.create_topic("small", 1);
    client.create_topic("large", 1);

    let over = Flag::default();
    // Requests of 100 MiB that never come to their end: a little at once, a lot at once, then drop by drop.
    let mut announced = ANNOUNCED_BYTES.to_be_bytes().to_vec();
    announced.resize(100_000, 0);
    let mut paid = announced.clone();
    paid.resize(4 << 20, 0);
    let mut attacks = vec![
        attack(&broker.address, &over, 200, announced, &[0; 1024]),
        attack(&broker.address, &over, 40, paid, &[0; 100_000]),
        // Megabytes of answers for a few bytes, on connections that never read.
        attack(&broker.address, &over, 100, large_question(20).repeat(40), &[]),
        // Connections that say nothing, and bytes that are no request.
        attack(&broker.address, &over, 300, Vec::new(), &[]),
        attack(&broker.address, &over, 20, b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"GET"),
    ];
    for _ in 0..10 {
        let address = broker.address.clone();
        attacks.push(thread::spawn(move || {
            let mut client = Client::new(&address);
            for index in 0..15 {
                client.produce("large", &value(index, 900_000));
            }
        }));
    }
    for index in 0..200 {
        let bytes = if index % 5 == 0 { 40_000 } else { 100 };
        assert_eq!(client.produce("small", &value(index, bytes)), index);
        assert!(client.fetch("small", index).iter().any(|(offset, _)| *offset == index));
        thread::sleep(Duration::from_millis(50));
    }
    let large = attacks.split_off(5);
    for produced in large {
        produced.join().unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for attack in attacks {
        attack.join().unwrap();
    }

    let most = broker.status("VmHWM");
    println!("at most {} MB were resident", most >> 20);
    assert!(most < LIMIT_BYTES);
    let mut next = 0;
    while next < 200 {
        for (offset, batch) in client.fetch("small", next) {
            assert_eq!(offset, next);
            let expected = value(next, 20);
            assert!(batch.windows(expected.len() - 8).any(|window| window == &expected[..expected.len() - 8]));
            next += 1;
        }
    }
    assert_eq!(broker.connect().produce("large", b"last"), 150, "all that was acknowledged is there");
    let said = broker.end();
    assert!(!said.contains("panicked"), "{said}");
}

/// What one connection costs that has said something once, and one that stopped within a request.
#[test]
fn an_idle_connection_and_a_stalled_one_cost_little() {
    const CONNECTIONS: usize = 500;
    const EACH_MAX: usize = 24 * 1024;
    let broker = Broker::start("", &[]);
    let mut client = broker.connect();
    client.create_topic("t", 1);
    for what in ["idle", "stalled"] {
        let before = broker.status("VmRSS");
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| broker.connect()).collect();
        for client in &mut clients {
            client.greet();
            client.is_greeted();
            if what == "stalled" {
                client.socket.write_all(&ANNOUNCED_BYTES.to_be_bytes()).unwrap();
                client.socket.write_all(&[0; 100]).unwrap();
            }
        }
        client.greet();
        client.is_greeted();
        let each = broker.status("VmRSS").saturating_sub(before) / CONNECTIONS;
        println!("{what}: {each} bytes for each connection");
        assert!(each < EACH_MAX, "{what}: {each}");
    }
}
