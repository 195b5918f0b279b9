//! Who is served now: sessions in all and from each network, and the memory that they hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::limits::{Held, Limits, SESSION_BYTES, Turned, network};

/// All sessions.
#[derive(Debug)]
pub struct Guests {
    networks: Mutex<HashMap<IpAddr, Network>>,
    count: watch::Sender<usize>,
    memory: AtomicUsize,
}

/// The sessions of one network.
#[derive(Debug, Default)]
struct Network {
    count: usize,
    memory: Arc<AtomicUsize>,
}

/// One session. Dropped, it is over.
#[derive(Debug)]
pub struct Guest {
    guests: Arc<Guests>,
    network: IpAddr,
    of_network: Arc<AtomicUsize>,
    held: usize,
}

impl Guests {
    /// Nobody.
    pub fn new() -> Guests {
        Guests {
            networks: Mutex::default(),
            count: watch::Sender::new(0),
            memory: AtomicUsize::new(0),
        }
    }

    /// Lets a client in, within the limits.
    pub fn admit(self: &Arc<Guests>, limits: &Limits, address: IpAddr) -> Result<Guest, Turned> {
        let network = network(address);
        let mut networks = self.networks();
        let (count, of_network) = match networks.get(&network) {
            Some(known) => (known.count, Arc::clone(&known.memory)),
            None => (0, Arc::default()),
        };
        limits.admit(self.count(), count, self.held(&of_network))?;
        let known = networks.entry(network).or_insert_with(|| Network {
            count: 0,
            memory: Arc::clone(&of_network),
        });
        known.count += 1;
        self.count.send_modify(|count| *count += 1);
        let mut guest = Guest {
            guests: Arc::clone(self),
            network,
            of_network,
            held: 0,
        };
        guest.holds(0);
        Ok(guest)
    }

    /// Sessions now.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    fn held(&self, of_network: &AtomicUsize) -> Held {
        Held {
            all: self.memory.load(Ordering::Relaxed),
            network: of_network.load(Ordering::Relaxed),
        }
    }

    /// Waits until nobody is left.
    pub async fn gone(&self) {
        // The sender is ours, so that waiting for it cannot fail.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Says how many bytes the session holds now, beside what every session costs.
    pub fn holds(&mut self, bytes: usize) {
        self.set_held(bytes + SESSION_BYTES);
    }

    fn set_held(&mut self, held: usize) {
        for memory in [&self.guests.memory, &*self.of_network] {
            // Two's complement: what is less is added by going round.
            memory.fetch_add(held.wrapping_sub(self.held), Ordering::Relaxed);
        }
        self.held = held;
    }

    /// Bytes that all sessions hold, and those of its network.
    pub fn memory(&self) -> Held {
        self.guests.held(&self.of_network)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.set_held(0);
        let mut networks = self.guests.networks();
        if let Some(network) = networks.get_mut(&self.network) {
            network.count -= 1;
            if network.count == 0 {
                networks.remove(&self.network);
            }
        }
        self.guests.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_leaves_nothing() {
        let limits = Limits {
            sessions: 3,
            sessions_per_address: 2,
            ..Limits::wide()
        };
        let guests = Arc::new(Guests::new());
        let admit = |address: &str| guests.admit(&limits, address.parse().unwrap());
        let mut first = admit("2001:db8::1").unwrap();
        let second = admit("2001:db8::2").unwrap();
        assert_eq!(admit("2001:db8::3").unwrap_err(), Turned::AddressFull);
        let third = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.2").unwrap_err(), Turned::Full);
        first.holds(1000);
        first.holds(10);
        let network = 2 * SESSION_BYTES + 10;
        let all = network + SESSION_BYTES;
        assert_eq!(second.memory(), Held { all, network });
        drop(second);
        let again = admit("2001:db8::3").unwrap();
        drop((first, third, again));
        assert_eq!(guests.count(), 0);
        assert_eq!(guests.held(&AtomicUsize::default()), Held::default());
        assert!(guests.networks().is_empty());
    }
}
