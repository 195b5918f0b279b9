//! What a failure on the server means: wait, find the mail, make the database.

use std::fmt;
use std::io::ErrorKind;

use mysql::{DriverError, Error};

use super::Options;
use crate::store::{StoreError, StoreErrorKind};

/// Errors of a transaction that was given up for another one.
const CONFLICTS: &[u16] = &[
    1205, // lock wait timeout
    1213, // deadlock
    1615, // a prepared statement met a changed table
];

/// Errors after which the server does not hear us any more.
const GONE: &[u16] = &[
    1053, // shutdown in progress
    1077, 1079, // normal shutdown, shutdown complete
    1152, 1158, 1159, 1160, 1161, 1184, // aborted connections, network errors and timeouts
    1317, // query interrupted
    1927, // connection was killed (MariaDB)
    2006, 2013, // gone away, lost
    3169, // session was killed (MySQL)
    4031, // disconnected for inactivity (MySQL)
];

/// Errors of a value that is refused for what it is.
const REFUSED: &[u16] = &[
    1048, // a column cannot be NULL
    1118, // row size too large
    1153, 1301, // longer than max_allowed_packet
    1264, 1265, 1292, 1366, 1367, 1406, 1411, 1441, // out of range, truncated, incorrect
    1300, 1253, 1267, 1270, 1271, // character strings
    1690, 1365, // arithmetic
    3988, // conversion between character sets (MySQL)
];

/// Errors of what is not there.
const MISSING: &[u16] = &[
    1049, // unknown database
    1146, // unknown table
];

/// Errors of an account.
const LOGIN: &[u16] = &[1045, 1130, 1698, 1820, 1862, 3118, 3878, 3955, 4151];
const RIGHTS: &[u16] = &[1044, 1142, 1143, 1227, 1370, 1410];

/// Errors of a server that cannot write.
const FULL: &[u16] = &[1021, 1114, 3675];
const READ_ONLY: &[u16] = &[1290, 1036, 1792, 1836];

/// Why a piece of work on a connection failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server or the way to it.
    Sql(Error),
    /// What we found there, or what another store failed with within a transaction.
    Store(StoreError),
}

/// The result of work on a connection.
pub(super) type Tried<T> = std::result::Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Store(error)
    }
}

impl Fault {
    fn code(&self) -> Option<u16> {
        match self {
            Fault::Sql(Error::MySqlError(error)) => Some(error.code),
            _ => None,
        }
    }

    /// Whether the transaction may be repeated at once.
    pub(super) fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| CONFLICTS.contains(&code))
    }

    /// Whether nothing more can be said on the connection.
    pub(super) fn lost_connection(&self) -> bool {
        match self {
            Fault::Sql(Error::MySqlError(error)) => GONE.contains(&error.code),
            Fault::Sql(_) => true,
            Fault::Store(_) => false,
        }
    }

    /// Whether the server was waited for in vain.
    pub(super) fn timed_out(&self) -> bool {
        let error = match self {
            Fault::Sql(Error::IoError(error)) => Some(error),
            Fault::Sql(Error::CodecError(error)) => {
                std::error::Error::source(error).and_then(|source| source.downcast_ref())
            }
            _ => None,
        };
        error.is_some_and(|error: &std::io::Error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        })
    }

    /// Whether the connection is as good as before.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            Fault::Store(_) => true,
            Fault::Sql(_) => {
                self.is_conflict() || self.code().is_some_and(|code| REFUSED.contains(&code))
            }
        }
    }

    /// Whether the server could not be reached at all.
    fn cannot_connect(&self) -> bool {
        matches!(
            self,
            Fault::Sql(Error::DriverError(
                DriverError::CouldNotConnect(_) | DriverError::ConnectTimeout
            ))
        )
    }

    fn is_too_large(&self) -> bool {
        let text = match self {
            Fault::Sql(Error::DriverError(DriverError::PacketTooLarge)) => return true,
            Fault::Sql(Error::CodecError(error)) => error.to_string(),
            _ => return false,
        };
        text.to_lowercase().contains("too large")
    }
}

/// A database on a server, as an operator knows it.
pub(super) struct Place<'a> {
    /// The server: address and port, or socket.
    pub(super) server: String,
    database: &'a str,
    other_host: bool,
}

impl<'a> Place<'a> {
    /// The place of a database.
    pub(super) fn of(options: &Options, database: &'a str) -> Place<'a> {
        let host = options.host.as_str();
        let loopback = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        };
        Place {
            server: match &options.socket {
                Some(socket) => socket.display().to_string(),
                None => format!("{host}:{}", options.port),
            },
            database,
            other_host: options.socket.is_none() && !loopback,
        }
    }

    /// A failure as the store's error, with its remedy.
    pub(super) fn error(&self, fault: Fault) -> StoreError {
        let (kind, remedy) = self.judged(&fault);
        let error = match fault {
            Fault::Store(error) => return error,
            Fault::Sql(error) => Told(error),
        };
        StoreError {
            kind,
            what: format!(
                "database {} on {}: {error}{remedy}",
                self.database, self.server
            ),
        }
    }

    fn judged(&self, fault: &Fault) -> (StoreErrorKind, &'static str) {
        use StoreErrorKind::{Missing, Refused, Unavailable};
        if fault.cannot_connect() {
            let remedy = if self.other_host {
                "; is the server running, [database] host and port right, and this host allowed \
                 to the service (\"Other hosts\" in shiva.conf(5))?"
            } else {
                "; is the server running, and [database] host, port and socket right?"
            };
            return (Unavailable, remedy);
        }
        if fault.timed_out() {
            return (Unavailable, "; the server hangs, or is far too slow");
        }
        if fault.is_too_large() {
            return (Refused, "");
        }
        let Some(code) = fault.code() else {
            return (Unavailable, "");
        };
        let is = |codes: &[u16]| codes.contains(&code);
        match code {
            _ if is(REFUSED) => (Refused, ""),
            _ if is(MISSING) => (Missing, "; shiva-dbcreate makes it"),
            _ if is(LOGIN) => (
                Unavailable,
                "; set [database] user and password to an account of the server, see MYSQL AND \
                 MARIADB in shiva.conf(5)",
            ),
            _ if is(RIGHTS) => (
                Unavailable,
                "; grant the user what MYSQL AND MARIADB in shiva.conf(5) says",
            ),
            _ if is(FULL) => (Unavailable, "; make room on the server's disk"),
            _ if is(READ_ONLY) => (Unavailable, "; make the server writable"),
            1205 => (
                Unavailable,
                "; another analyzer takes a window in, or another program keeps rows locked",
            ),
            1062 => (
                Unavailable,
                "; has another program written to the database? Restart the analyzer",
            ),
            _ => (Unavailable, ""),
        }
    }
}

/// An error without the names that the client library has for it.
struct Told(Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::IoError(error) => write!(f, "{error}"),
            Error::MySqlError(error) => write!(f, "{} ({})", error.message, error.code),
            Error::DriverError(error) => write!(f, "{error}"),
            Error::CodecError(error) => write!(f, "{error}"),
            Error::TlsError(error) => write!(f, "{error}"),
            error => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use mysql::{Conn, OptsBuilder};

    use super::*;

    /// What comes of a connection to a server.
    fn met(listener: &TcpListener) -> Fault {
        let options = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(listener.local_addr().unwrap().port())
            .prefer_socket(false)
            .read_timeout(Some(Duration::from_millis(50)));
        Conn::new(options).unwrap_err().into()
    }

    #[test]
    fn a_server_that_hangs_is_told_from_a_connection_that_died() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let silent = met(&listener);
        assert!(silent.timed_out() && silent.lost_connection(), "{silent:?}");
        drop(listener.accept());
        let hangs_up = std::thread::scope(|scope| {
            scope.spawn(|| drop(listener.accept()));
            met(&listener)
        });
        assert!(
            !hangs_up.timed_out() && hangs_up.lost_connection(),
            "{hangs_up:?}"
        );
    }
}
