//! What the receiver bears from all clients together and from one: counts in, verdict out.
//!
//! No clock, no socket, no disk: the shell counts and measures, asks here, and does what it is told.
//! What one session bears is [`smtp::Limits`](crate::smtp::Limits), which the session itself keeps.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::smtp::Shortage;

/// Bytes that a session costs before it holds anything: its buffers, its state, and the socket's.
pub const SESSION_BYTES: usize = 24 * 1024;

/// Bytes that one [`network`] may hold however small its share is: a message needs some.
const SHARE_MIN: usize = 1 << 20;

/// The limits, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: usize,
    /// Sessions at once from one [`network`].
    pub sessions_per_address: usize,
    /// How long a client may take from its connection to its first command, and over a TLS
    /// handshake before that.
    pub greet: Duration,
    /// How long a client may be silent.
    pub idle: Duration,
    /// How long a client may take over one command line, however it drips in.
    pub command: Duration,
    /// How long a client may take over one message.
    pub data: Duration,
    /// Bytes a second that a message must come in with, on the average; 0 for none.
    pub rate: u64,
    /// How long a message may come in more slowly at first.
    pub rate_grace: Duration,
    /// Bytes that all sessions may hold in memory.
    pub memory: usize,
    /// Free bytes of the queue's disk below which no message is begun.
    pub disk_free: u64,
}

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// There are too many sessions.
    Full,
    /// There are too many from its address.
    AddressFull,
    /// There is no memory for one more.
    NoMemory,
}

/// Bytes that sessions hold in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// All of them.
    pub all: usize,
    /// Those of one [`network`].
    pub network: usize,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is to send its first command.
    Greeting,
    /// It is to send a command.
    Command,
    /// It has sent so many bytes of a message.
    Message(u64),
}

impl Limits {
    /// Whether one more client is served, where there are so many sessions, so many of them from its
    /// network, and so many bytes in memory.
    pub fn admit(&self, sessions: usize, of_network: usize, held: Held) -> Result<(), Turned> {
        if sessions >= self.sessions {
            Err(Turned::Full)
        } else if of_network >= self.sessions_per_address {
            Err(Turned::AddressFull)
        } else if held.all.saturating_add(SESSION_BYTES) > self.memory
            || held.network.saturating_add(SESSION_BYTES) > self.share()
        {
            Err(Turned::NoMemory)
        } else {
            Ok(())
        }
    }

    /// How long a client is waited for that has been at what it does for `elapsed`; zero where its
    /// time is up.
    pub fn patience(&self, doing: Doing, elapsed: Duration) -> Duration {
        let whole = match doing {
            Doing::Greeting => self.greet,
            Doing::Command => self.command,
            Doing::Message(bytes) => self.data.min(self.earned(bytes)),
        };
        self.idle.min(whole.saturating_sub(elapsed))
    }

    /// The time that so many bytes of a message may take.
    fn earned(&self, bytes: u64) -> Duration {
        match self.rate {
            0 => Duration::MAX,
            rate => self.rate_grace.max(Duration::from_secs(bytes / rate)),
        }
    }

    /// What is lacking for one more message, where so many bytes are in memory and free on the
    /// disk; an unknown disk has room.
    pub fn shortage(&self, held: Held, disk_free: Option<u64>) -> Option<Shortage> {
        if self.is_memory_full(held) {
            Some(Shortage::Memory)
        } else {
            let is_short = disk_free.is_some_and(|free| free < self.disk_free);
            is_short.then_some(Shortage::Disk)
        }
    }

    /// Free bytes of its disk that the session log leaves: twice what a message is begun with, so
    /// that a flood of sessions does not end the mail.
    pub fn log_disk_free(&self) -> u64 {
        self.disk_free.saturating_mul(2)
    }

    /// Whether messages under way must go to the disk at once.
    pub fn is_memory_full(&self, held: Held) -> bool {
        held.all >= self.memory || held.network >= self.share()
    }

    /// Bytes that one network may hold: as large a part of all as of the sessions, so that one
    /// client cannot keep the others out by what it holds either.
    fn share(&self) -> usize {
        let part = self.memory as u128 * self.sessions_per_address as u128;
        let part = part / self.sessions.max(1) as u128;
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        part.max(SHARE_MIN).min(self.memory)
    }
}

#[cfg(test)]
impl Limits {
    /// Limits that no test meets, but for those that it sets.
    pub fn wide() -> Limits {
        let day = Duration::from_secs(86_400);
        Limits {
            sessions: 1000,
            sessions_per_address: 1000,
            greet: day,
            idle: day,
            command: day,
            data: day,
            rate: 0,
            rate_grace: day,
            memory: 1 << 30,
            disk_free: 0,
        }
    }
}

/// Who counts as one client: an address, and of IPv6 the /64 that one customer has for himself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        let seconds = || (1..5000_u64).prop_map(Duration::from_secs);
        let counts = (1..50_usize, 1..50_usize);
        let times = (seconds(), seconds(), seconds(), seconds(), seconds());
        (counts, times, 0..1000_u64, 0..1_usize << 30, 0..1_u64 << 40).prop_map(
            |(counts, times, rate, memory, disk_free)| Limits {
                sessions: counts.0,
                sessions_per_address: counts.1,
                idle: times.0,
                command: times.1,
                data: times.2,
                rate,
                rate_grace: times.3,
                greet: times.4,
                memory,
                disk_free,
            },
        )
    }

    proptest! {
        #[test]
        fn never_are_there_more_than_the_limits_say(
            limits in limits(),
            clients in proptest::collection::vec((0..4_usize, 0..SESSION_BYTES * 2), 0..200),
        ) {
            let mut held = Held::default();
            let (mut all, mut of, mut held_by) = (0, [0_usize; 4], [0_usize; 4]);
            for (network, bytes) in clients {
                held.network = held_by[network];
                match limits.admit(all, of[network], held) {
                    Ok(()) => {
                        all += 1;
                        of[network] += 1;
                        held.all += SESSION_BYTES;
                        held_by[network] += SESSION_BYTES;
                        prop_assert!(held.all <= limits.memory);
                        prop_assert!(held_by[network] <= limits.share());
                        held.all += bytes;
                        held_by[network] += bytes;
                    }
                    Err(Turned::Full) => prop_assert_eq!(all, limits.sessions),
                    Err(Turned::AddressFull) => {
                        prop_assert_eq!(of[network], limits.sessions_per_address);
                    }
                    Err(Turned::NoMemory) => {
                        let is_full = held.all + SESSION_BYTES > limits.memory;
                        prop_assert!(is_full || held.network + SESSION_BYTES > limits.share());
                    }
                }
                prop_assert!(all <= limits.sessions);
                prop_assert!(of.iter().all(|of| *of <= limits.sessions_per_address));
            }
        }

        #[test]
        fn no_client_is_waited_for_beyond_its_time(
            limits in limits(), seconds in 0..10_000_u64, bytes in 0..10_000_000_u64, more in 0..1000_u64,
        ) {
            let elapsed = Duration::from_secs(seconds);
            for (doing, whole) in [
                (Doing::Greeting, limits.greet),
                (Doing::Command, limits.command),
                (Doing::Message(bytes), limits.data),
            ] {
                let patience = limits.patience(doing, elapsed);
                prop_assert!(patience <= limits.idle);
                prop_assert!(patience.is_zero() || elapsed + patience <= whole);
            }
            // More bytes never mean less time.
            let patience = |bytes| limits.patience(Doing::Message(bytes), elapsed);
            prop_assert!(patience(bytes + more) >= patience(bytes));
            // Time is up only for those who are late or slow.
            if patience(bytes).is_zero() {
                let slow = limits.rate > 0 && elapsed >= limits.rate_grace && bytes / limits.rate <= seconds;
                prop_assert!(elapsed >= limits.data || slow);
            }
        }

        #[test]
        fn a_shortage_is_said_exactly_where_there_is_one(
            limits in limits(), all in 0..1_usize << 31, part in 0..=100_usize, free in 0..1_u64 << 41,
        ) {
            let held = Held { all, network: all / 100 * part };
            let is_full = all >= limits.memory || held.network >= limits.share();
            let expected = match (is_full, free < limits.disk_free) {
                (true, _) => Some(Shortage::Memory),
                (false, true) => Some(Shortage::Disk),
                (false, false) => None,
            };
            prop_assert_eq!(limits.shortage(held, Some(free)), expected);
            prop_assert_ne!(limits.shortage(held, None), Some(Shortage::Disk));
        }
    }

    #[test]
    fn a_network_has_the_part_of_memory_that_it_has_of_sessions() {
        let share = |sessions, sessions_per_address, memory| {
            let limits = Limits {
                sessions,
                sessions_per_address,
                memory,
                ..Limits::wide()
            };
            limits.share()
        };
        assert_eq!(share(1000, 250, 256 << 20), 64 << 20);
        assert_eq!(share(1000, 1, 256 << 20), SHARE_MIN);
        assert_eq!(share(10, 1_000_000, 1 << 40), 1 << 40);
    }

    #[test]
    fn a_customer_with_a_network_of_his_own_is_one_client() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
