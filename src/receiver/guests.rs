//! Who is served now: sessions in all and from each network, and the memory that they hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::limits::{Limits, SESSION_BYTES, Turned, network};

/// All sessions.
#[derive(Debug)]
pub struct Guests {
    networks: Mutex<HashMap<IpAddr, usize>>,
    count: watch::Sender<usize>,
    memory: AtomicUsize,
}

/// One session. Dropped, it is over.
#[derive(Debug)]
pub struct Guest {
    guests: Arc<Guests>,
    network: IpAddr,
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
        let of_network = networks.get(&network).copied().unwrap_or(0);
        limits.admit(self.count(), of_network, self.memory())?;
        networks.insert(network, of_network + 1);
        self.count.send_modify(|count| *count += 1);
        self.memory.fetch_add(SESSION_BYTES, Ordering::Relaxed);
        Ok(Guest {
            guests: Arc::clone(self),
            network,
            held: SESSION_BYTES,
        })
    }

    /// Sessions now.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Bytes that they hold.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Waits until nobody is left.
    pub async fn gone(&self) {
        // The sender is ours, so that waiting for it cannot fail.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Says how many bytes the session holds now, beside what every session costs.
    pub fn holds(&mut self, bytes: usize) {
        let held = bytes + SESSION_BYTES;
        let memory = &self.guests.memory;
        if held >= self.held {
            memory.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            memory.fetch_sub(self.held - held, Ordering::Relaxed);
        }
        self.held = held;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut networks = self.guests.networks();
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
        self.guests.memory.fetch_sub(self.held, Ordering::Relaxed);
        self.guests.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_has_gone_leaves_nothing() {
        let second = Duration::from_secs(1);
        let limits = Limits {
            sessions: 3,
            sessions_per_address: 2,
            greet: second,
            idle: second,
            command: second,
            data: second,
            rate: 0,
            rate_grace: second,
            memory: 1 << 30,
            disk_free: 0,
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
        assert_eq!(guests.memory(), 3 * SESSION_BYTES + 10);
        drop(second);
        let again = admit("2001:db8::3").unwrap();
        drop((first, third, again));
        assert_eq!((guests.count(), guests.memory()), (0, 0));
        assert!(guests.networks().is_empty());
    }
}
