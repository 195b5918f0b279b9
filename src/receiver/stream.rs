//! A client's connection, in the clear or encrypted.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::tls::Tap;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<Tap>>),
    /// Given up, or in a handshake.
    Gone,
}

impl Stream {
    /// Reads what there is; nothing at the end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer).await,
            Stream::Tls(stream) => stream.read(buffer).await,
            Stream::Gone => Ok(0),
        }
    }

    /// Writes all.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Says, within TLS, that nothing more comes.
    pub async fn close(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(stream) => stream.shutdown().await,
            Stream::Plain(_) | Stream::Gone => Ok(()),
        }
    }
}
