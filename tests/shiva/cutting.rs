//! A way to a server that is cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passes bytes on to a server; the first connections are cut.
pub struct Cutting {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Cutting {
    /// To the server at this port; connection `n` is cut after `cuts[n]` bytes of the client's.
    pub fn to(server: u16, cuts: &'static [usize]) -> Cutting {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let left = cuts.get(number).copied().unwrap_or(usize::MAX);
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let (to_client, from_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(client, server, left));
                std::thread::spawn(move || pass(from_server, to_client, usize::MAX));
            }
        });
        Cutting { port, connections }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// So many bytes from the one to the other; then both are cut.
fn pass(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = [0; 4096];
    loop {
        let room = buffer.len().min(left);
        match from.read(&mut buffer[..room]) {
            Ok(read) if read > 0 && to.write_all(&buffer[..read]).is_ok() => left -= read,
            // The end of one direction, as it was said.
            Ok(0) if left > 0 => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            _ => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
