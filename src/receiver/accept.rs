//! Accepts clients, and turns away those that are too many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection;
use super::listen::Listener;
use super::party::{Party, Protocol};
use super::shared::Shared;
use crate::logging::Rarely;
use crate::smtp;

/// How long to wait where the machine can take no client: some sessions may end meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the clients of one listener, for ever.
pub async fn accept((listener, protocol): Listener, shared: Arc<Shared>) {
    let mut failed = Rarely::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => open(stream, peer, protocol, &shared),
            Err(error) => {
                // Out of file descriptors, mostly.
                if let Some(held_back) = failed.now() {
                    log::error!(
                        "event=receiver.accept_failed reason=\"{error}\" held_back={held_back}"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn open(stream: TcpStream, peer: SocketAddr, protocol: Protocol, shared: &Arc<Shared>) {
    let Ok(local) = stream.local_addr() else {
        return; // gone already
    };
    let settings = shared.settings();
    let party = Party::new(peer, local, protocol);
    match shared.guests.admit(&settings.limits, party.src.ip()) {
        Ok(guest) => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                connection::serve(stream, party, guest, settings, &shared).await;
            });
        }
        Err(why) => {
            shared.counters.turned(why);
            if protocol == Protocol::Smtp {
                let line = smtp::busy(&settings.profile, &party.client());
                // What does not fit the socket's empty buffer is not worth waiting for.
                let _ = stream.try_write(&line);
            }
        }
    }
}
