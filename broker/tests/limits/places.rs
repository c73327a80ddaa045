//! Too many connections: by address, by broker, and by what may be open.

use std::net::TcpStream;

use super::{A_WHILE, Broker, Client};

impl Client {
    /// Whether nothing comes for a while.
    fn hears_nothing(&mut self) -> bool {
        self.socket.set_read_timeout(Some(A_WHILE)).unwrap();
        let peeked = self.socket.peek(&mut [0; 1]);
        self.socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
        peeked.is_err()
    }
}

#[test]
fn one_connection_too_many_of_an_address_is_closed_and_the_others_are_served() {
    let broker = Broker::start("", &["max.connections.per.ip=100", "max.connections.per.ip.overrides=localhost:2"]);
    let (mut one, mut two) = (broker.connect(), broker.connect());
    for client in [&mut one, &mut two] {
        client.greet();
        client.is_greeted();
    }
    assert!(broker.connect().is_closed());
    // The other's place becomes free a moment after it has gone.
    drop(two);
    let mut three = loop {
        let mut client = broker.connect();
        client.greet();
        if !client.is_closed() {
            break client;
        }
    };
    three.is_greeted();
    assert_eq!(three.alter("max.connections.per.ip.overrides", ""), 0);
    assert_eq!(one.alter("max.connections.per.ip", "0"), 42, "it needs overrides");
    let mut four = broker.connect();
    four.greet();
    four.is_greeted();
    assert!(
        broker.end().contains("Rejected connection from /127.0.0.1, address already has the configured maximum of 2 ")
    );
}

#[test]
fn a_full_broker_lets_the_next_one_in_when_there_is_a_place() {
    let broker = Broker::start("", &["max.connections=1"]);
    let mut one = broker.connect();
    one.greet();
    one.is_greeted();
    let mut two = broker.connect();
    two.greet();
    assert!(two.hears_nothing());
    assert_eq!(one.alter("max.connections", "0"), 42);
    assert_eq!(one.alter("max.connections", "2"), 0);
    two.is_greeted();
    let mut three = broker.connect();
    three.greet();
    assert!(three.hears_nothing());
    drop(one);
    three.is_greeted();
    // A lower limit closes what is beyond it.
    assert_eq!(two.alter("listener.name.plaintext.max.connections", "5"), 0);
    assert_eq!(three.alter("max.connections", "1"), 0);
    assert!(two.is_closed(), "the older of two that are in use");
    three.greet();
    three.is_greeted();
}

/// With its descriptors used up by connections a broker could not open the next segment: the log dir failed, and every
/// failed accept was a line in the log.
#[test]
fn a_flood_of_connections_leaves_descriptors_to_the_logs() {
    let broker = Broker::start("ulimit -n 256", &[]);
    let mut client = broker.connect();
    client.create_topic("before", 1);
    // Those that are not let in fill the backlog, and then connecting takes for ever.
    let address = broker.address.parse().unwrap();
    let flood: Vec<_> = (0..200).map_while(|_| TcpStream::connect_timeout(&address, A_WHILE * 10).ok()).collect();
    assert!(flood.len() > 100);
    client.create_topic("during", 60);
    for index in 0..20 {
        assert_eq!(client.produce("during", b"value"), index);
        assert_eq!(client.produce("before", b"value"), index);
    }
    assert_eq!(client.fetch("during", 0).len(), 20);
    drop(flood);
    let mut after = broker.connect();
    after.greet();
    after.is_greeted();
    let said = broker.end();
    assert!(said.contains("the process may open no more files"), "{said}");
    assert!(said.lines().filter(|line| line.contains("Acceptor")).count() < 30, "{said}");
    assert!(!said.contains("ERROR"), "{said}");
}

/// While a connection waited for its turn, the end of any other one closed it.
#[test]
fn a_connection_that_is_delayed_by_the_rate_is_let_in_whoever_leaves_meanwhile() {
    let broker = Broker::start("", &["max.connection.creation.rate=1", "quota.window.num=1"]);
    let mut one = broker.connect();
    one.greet();
    one.is_greeted();
    let mut two = broker.connect();
    two.greet();
    assert!(two.hears_nothing());
    drop(one);
    two.is_greeted();
}
