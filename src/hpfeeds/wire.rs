//! The stream to a broker: TCP, with TLS over it or without, and an end to every wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::tls::{Tls, TlsError};

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;

/// How long a connection may be silent before the kernel asks the peer whether it is still there, how
/// often it asks again, and how many times. A subscriber waits for days: a peer that vanished is
/// known after two minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(20), 3);

/// A TCP connection whose reads and writes end at a deadline.
pub struct Socket {
    stream: TcpStream,
    deadline: Instant,
}

/// The stream, encrypted or not.
pub enum Wire {
    /// As it is.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<Tls>, Socket),
}

impl Wire {
    /// Connects until the deadline.
    pub fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Wire> {
        let stream = connect(host, port, deadline)?;
        stream.set_nodelay(true)?;
        let (idle, interval, count) = KEEPALIVE;
        sockopt::set_tcp_keepidle(&stream, idle)?;
        sockopt::set_tcp_keepintvl(&stream, interval)?;
        sockopt::set_tcp_keepcnt(&stream, count)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        Ok(Wire::Plain(Socket { stream, deadline }))
    }

    /// Speaks TLS from here on.
    pub fn encrypt(self, mut tls: Tls) -> Result<Wire, TlsError> {
        let (Wire::Plain(mut socket) | Wire::Tls(_, mut socket)) = self;
        tls.shake_hands(&mut socket)?;
        Ok(Wire::Tls(Box::new(tls), socket))
    }

    /// When what follows must have ended.
    pub fn until(&mut self, deadline: Instant) -> &mut Wire {
        let (Wire::Plain(socket) | Wire::Tls(_, socket)) = self;
        socket.deadline = deadline;
        self
    }

    /// Reads what there is; 0 where the peer has closed.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Tls(tls, socket) => tls.read(socket, buffer),
        }
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Tls(tls, socket) => tls.write(socket, bytes),
        }
    }

    /// Whether the kernel has learnt that the peer threw away what it was sent.
    pub fn check(&self) -> io::Result<()> {
        let (Wire::Plain(socket) | Wire::Tls(_, socket)) = self;
        socket.stream.take_error()?.map_or(Ok(()), Err)
    }

    /// Says that nothing more is written; the peer may still write.
    pub fn close_write(&mut self) -> io::Result<()> {
        let socket = match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(tls, socket) => {
                tls.close_write(socket)?;
                socket
            }
        };
        socket.stream.shutdown(Shutdown::Write)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(left(self.deadline)?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a wait came to its end.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time that is left, never zero: to a socket that would mean for ever.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(ErrorKind::TimedOut.into()),
    }
}
