//! Which connections are let in: `kafka.network.ConnectionQuotas` of 4.3.1 without its locks, clocks and sockets.
//!
//! A full broker or listener makes its acceptor wait; a full address has its connection closed at once; a rate that is
//! exceeded delays. The listener of the brokers is protected where there are others: it may exceed the broker's limit,
//! and then the least recently used connection of another listener is closed.
//! Absent: rates of single addresses, which are a quota.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::rate::Rate;

/// The limits in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// `max.connections`, and no more than there are descriptors for.
    pub(super) broker: usize,
    /// `max.connection.creation.rate`
    pub(super) broker_rate: u32,
    /// `listener.name.<name>.*`, by the listener's name.
    pub(super) listeners: BTreeMap<Arc<str>, ListenerLimits>,
    /// `max.connections.per.ip`
    pub(super) per_ip: usize,
    /// `max.connections.per.ip.overrides`, resolved.
    pub(super) per_ip_overrides: BTreeMap<IpAddr, usize>,
}

/// The limits of one listener: its own, else the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListenerLimits {
    pub(super) connections: usize,
    pub(super) rate: u32,
}

/// The windows in which rates are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// `quota.window.num`
    pub(super) number: usize,
    /// `quota.window.size.seconds`
    pub(super) size: Duration,
}

/// An address has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressFull {
    pub(super) max: usize,
}

#[derive(Debug)]
struct Listener {
    connections: usize,
    rate: Rate,
}

/// Counts connections and decides about new ones.
#[derive(Debug)]
pub(super) struct ConnectionQuotas {
    limits: Limits,
    protected: Option<Arc<str>>,
    rate: Rate,
    listeners: BTreeMap<Arc<str>, Listener>,
    addresses: BTreeMap<IpAddr, usize>,
    open: BTreeMap<u64, (Arc<str>, IpAddr)>,
}

impl ConnectionQuotas {
    /// Quotas of these listeners, of which `inter_broker` is protected if it is not the only one.
    pub(super) fn new(limits: Limits, listeners: &[Arc<str>], inter_broker: &str, windows: Windows) -> Self {
        let rate = Rate::new(windows.number, windows.size);
        let protected = listeners.iter().find(|name| ***name == *inter_broker).filter(|_| listeners.len() > 1);
        Self {
            limits,
            protected: protected.cloned(),
            listeners: listeners
                .iter()
                .map(|name| (Arc::clone(name), Listener { connections: 0, rate: rate.clone() }))
                .collect(),
            rate,
            addresses: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// From now on these limits.
    pub(super) fn update(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn is_protected(&self, listener: &str) -> bool {
        self.protected.as_deref() == Some(listener)
    }

    fn limits_of(&self, listener: &str) -> ListenerLimits {
        let unlimited = ListenerLimits { connections: usize::MAX, rate: i32::MAX as u32 };
        self.limits.listeners.get(listener).copied().unwrap_or(unlimited)
    }

    /// Counts a connection that wants in. Returns how long it must wait.
    pub(super) fn record(&mut self, listener: &str, now: Duration) -> Duration {
        let of_listener = self.limits_of(listener).rate;
        let mut delay = Duration::ZERO;
        if !self.is_protected(listener) {
            delay = self.rate.record(now, self.limits.broker_rate);
        }
        if let Some(listener) = self.listeners.get_mut(listener) {
            delay = delay.max(listener.rate.record(now, of_listener));
        }
        delay
    }

    /// Whether one more connection may be let in on a listener; its acceptor waits otherwise.
    pub(super) fn has_slot(&self, listener: &str) -> bool {
        let connections = self.listeners.get(listener).map_or(0, |listener| listener.connections);
        connections < self.limits_of(listener).connections
            && (self.is_protected(listener) || self.open.len() < self.limits.broker)
    }

    /// Lets a connection in, under an id of its own.
    pub(super) fn admit(&mut self, id: u64, listener: &Arc<str>, address: IpAddr) -> Result<(), AddressFull> {
        let max = self.limits.per_ip_overrides.get(&address).copied().unwrap_or(self.limits.per_ip);
        let of_address = self.addresses.entry(address).or_insert(0);
        if *of_address >= max {
            if *of_address == 0 {
                self.addresses.remove(&address);
            }
            return Err(AddressFull { max });
        }
        *of_address += 1;
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.connections += 1;
        }
        self.open.insert(id, (Arc::clone(listener), address));
        Ok(())
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: u64) {
        let Some((listener, address)) = self.open.remove(&id) else { return };
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.connections -= 1;
        }
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Which connections must go, since there are more than the broker's limit: those that were not used for the
    /// longest time (`quiet`), the oldest of them first, never one of the protected listener.
    pub(super) fn excess(&self, quiet: impl Fn(u64) -> u32) -> Vec<u64> {
        let excess = self.open.len().saturating_sub(self.limits.broker);
        if excess == 0 {
            return Vec::new();
        }
        let unprotected = self.open.iter().filter(|(_, (listener, _))| !self.is_protected(listener));
        let mut candidates: Vec<(u32, u64)> = unprotected.map(|(id, _)| (quiet(*id), *id)).collect();
        candidates.sort_unstable_by_key(|(quiet, id)| (u32::MAX - quiet, *id));
        candidates.into_iter().take(excess).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = i32::MAX as usize;
    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn limits() -> Limits {
        Limits {
            broker: MAX,
            broker_rate: MAX as u32,
            listeners: BTreeMap::new(),
            per_ip: MAX,
            per_ip_overrides: BTreeMap::new(),
        }
    }

    fn quotas(limits: Limits) -> (ConnectionQuotas, Arc<str>, Arc<str>) {
        let (clients, brokers): (Arc<str>, Arc<str>) = ("CLIENTS".into(), "BROKERS".into());
        let windows = Windows { number: 11, size: Duration::from_secs(1) };
        let listeners = [Arc::clone(&clients), Arc::clone(&brokers)];
        (ConnectionQuotas::new(limits, &listeners, "BROKERS", windows), clients, brokers)
    }

    #[test]
    fn an_address_is_full_by_its_own_limit_or_the_common_one() {
        let overrides = BTreeMap::from([(OTHER, 1), (IpAddr::from([10, 0, 0, 3]), 0)]);
        let (mut quotas, clients, _) = quotas(Limits { per_ip: 2, per_ip_overrides: overrides, ..limits() });
        assert_eq!(quotas.admit(1, &clients, ONE), Ok(()));
        assert_eq!(quotas.admit(2, &clients, ONE), Ok(()));
        assert_eq!(quotas.admit(3, &clients, ONE), Err(AddressFull { max: 2 }));
        assert_eq!(quotas.admit(3, &clients, OTHER), Ok(()));
        assert_eq!(quotas.admit(4, &clients, OTHER), Err(AddressFull { max: 1 }));
        assert_eq!(quotas.admit(4, &clients, [10, 0, 0, 3].into()), Err(AddressFull { max: 0 }));
        quotas.leave(1);
        assert_eq!(quotas.admit(4, &clients, ONE), Ok(()));
        for id in [2, 3, 4, 99] {
            quotas.leave(id);
        }
        assert!(quotas.addresses.is_empty() && quotas.open.is_empty());
    }

    #[test]
    fn a_full_broker_makes_all_but_the_brokers_wait() {
        let (mut quotas, clients, brokers) = quotas(Limits { broker: 2, ..limits() });
        quotas.admit(1, &clients, ONE).unwrap();
        quotas.admit(2, &clients, ONE).unwrap();
        assert!(!quotas.has_slot("CLIENTS"));
        assert!(quotas.has_slot("BROKERS"));
        quotas.admit(3, &brokers, ONE).unwrap();
        // The one that has been quiet for longer makes room.
        assert_eq!(quotas.excess(|id| id as u32), [2]);
        assert_eq!(quotas.excess(|_| 0), [1]);
        quotas.leave(2);
        assert!(quotas.excess(|_| 0).is_empty());
        assert!(!quotas.has_slot("CLIENTS"));
        quotas.leave(1);
        assert!(quotas.has_slot("CLIENTS"));
    }

    #[test]
    fn a_lower_limit_closes_what_is_beyond_it() {
        let (mut quotas, clients, brokers) = quotas(limits());
        for id in 0..4 {
            quotas.admit(id, if id == 0 { &brokers } else { &clients }, ONE).unwrap();
        }
        assert!(quotas.excess(|_| 0).is_empty());
        quotas.update(Limits { broker: 0, ..limits() });
        assert_eq!(quotas.excess(|id| u32::from(id == 3)), [3, 1, 2]);
    }

    #[test]
    fn a_full_listener_waits_alone_be_it_protected_or_not() {
        let one = ListenerLimits { connections: 1, rate: MAX as u32 };
        let listeners = BTreeMap::from([(Arc::from("BROKERS"), one)]);
        let (mut quotas, clients, brokers) = quotas(Limits { listeners, ..limits() });
        quotas.admit(1, &brokers, ONE).unwrap();
        quotas.admit(2, &clients, ONE).unwrap();
        assert!(!quotas.has_slot("BROKERS"));
        assert!(quotas.has_slot("CLIENTS"));
    }

    #[test]
    fn a_single_listener_is_not_protected() {
        let windows = Windows { number: 11, size: Duration::from_secs(1) };
        let name: Arc<str> = "PLAINTEXT".into();
        let one = Limits { broker: 1, ..limits() };
        let mut quotas = ConnectionQuotas::new(one, &[Arc::clone(&name)], "PLAINTEXT", windows);
        quotas.admit(1, &name, ONE).unwrap();
        assert!(!quotas.has_slot("PLAINTEXT"));
    }

    #[test]
    fn the_longest_delay_counts_and_brokers_are_spared_that_of_the_broker() {
        let slow = ListenerLimits { connections: MAX, rate: 2 };
        let listeners = BTreeMap::from([(Arc::from("CLIENTS"), slow)]);
        let (mut quotas, ..) = quotas(Limits { broker_rate: 1, listeners, ..limits() });
        let now = Duration::from_secs(1);
        for _ in 0..10 {
            assert_eq!(quotas.record("CLIENTS", now), Duration::ZERO);
        }
        assert_eq!(quotas.record("CLIENTS", now), Duration::from_secs(1));
        for _ in 0..100 {
            assert_eq!(quotas.record("BROKERS", now), Duration::ZERO);
        }
    }
}
