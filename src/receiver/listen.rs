//! Where the receiver listens: from hosts and ports to sockets.
//!
//! A host name means all of its addresses, `::` every address of the machine, and each host goes
//! with each port. An address that the machine lacks (a name may have some of a family that it
//! does not speak) is passed over and said in the log, unless it is the only one; whatever else
//! stands in the way ends the receiver, for a honeypot that half listens is taken for one that
//! listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::party::Protocol;
use crate::exit::{Exit, Failure};

/// Clients that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that clients connect to, and what is spoken there.
pub type Listener = (TcpListener, Protocol);

/// Listens on every one of these ports at every one of these hosts.
pub async fn listen(
    hosts: &[String],
    ports: &[u16],
    protocol: Protocol,
) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Vec::new();
    let mut lacking = Vec::new();
    for address in distinct(&resolve(hosts, ports).await?) {
        match bind(address) {
            Ok(listener) => listeners.push((listener, protocol)),
            Err(error) if is_lacking(&error) => lacking.push((address, error)),
            Err(error) => return Err(unavailable(cannot_listen(address, &error))),
        }
    }
    if let (true, Some((address, error))) = (listeners.is_empty(), lacking.first()) {
        return Err(unavailable(cannot_listen(*address, error)));
    }
    for (address, error) in lacking {
        log::warn!("event=receiver.address_lacking address={address} reason=\"{error}\"");
    }
    Ok(listeners)
}

/// Says where it listens, when nothing stands in the way any more.
pub fn say(listeners: &[Listener]) {
    for (listener, protocol) in listeners {
        if let Ok(address) = listener.local_addr() {
            let spoken = protocol.name();
            log::info!("event=receiver.listening address={address} protocol={spoken}");
        }
    }
}

async fn resolve(hosts: &[String], ports: &[u16]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for host in hosts {
        for port in ports {
            let found = lookup_host((host.as_str(), *port)).await.map_err(|error| {
                unavailable(format!(
                    "[receiver] listenhost : {host}: {error}; give an address of this machine"
                ))
            })?;
            addresses.extend(found);
        }
    }
    Ok(addresses)
}

/// The addresses to bind, each once and in order: `::` is every address of both families, and what
/// an unspecified address covers goes, for the two could not be bound together.
fn distinct(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        all.push(*address);
        if address.is_ipv6() && address.ip().is_unspecified() {
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            all.push(SocketAddr::new(any, address.port()));
        }
    }
    let covers = |any: &SocketAddr, address: &SocketAddr| {
        any.ip().is_unspecified()
            && !address.ip().is_unspecified()
            && any.port() == address.port()
            && any.is_ipv4() == address.is_ipv4()
    };
    let mut distinct = Vec::new();
    for address in &all {
        if !distinct.contains(address) && !all.iter().any(|any| covers(any, address)) {
            distinct.push(*address);
        }
    }
    distinct
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // IPv4 has a socket of its own, whatever the machine's default.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the machine has no such address, or does not speak its family.
fn is_lacking(error: &io::Error) -> bool {
    let family = Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(family)
}

fn unavailable(what: String) -> Failure {
    Failure::new(Exit::Unavailable, what)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has the port; `ss -ltnp` shows which",
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 needs the capability CAP_NET_BIND_SERVICE, which the service has"
        }
        _ => "[receiver] listenhost, listenport and tlslistenport say where to listen",
    };
    format!("cannot listen on {address}: {error}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_bind(addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        distinct(&addresses)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn no_two_addresses_are_in_each_others_way() {
        for (asked, bound) in [
            (&["127.0.0.1:25", "127.0.0.1:25"][..], &["127.0.0.1:25"][..]),
            (&["[::]:25"], &["[::]:25", "0.0.0.0:25"]),
            (&["0.0.0.0:25", "[::]:25"], &["0.0.0.0:25", "[::]:25"]),
            (&["127.0.0.1:25", "0.0.0.0:25"], &["0.0.0.0:25"]),
            (&["[::1]:25", "0.0.0.0:25"], &["[::1]:25", "0.0.0.0:25"]),
            (
                &["[::]:25", "[::1]:25", "127.0.0.1:587"],
                &["[::]:25", "0.0.0.0:25", "127.0.0.1:587"],
            ),
        ] {
            assert_eq!(to_bind(asked), bound, "{asked:?}");
        }
    }
}
