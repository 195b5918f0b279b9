//! TLS to a broker, by rustls: its certificate must be for the host's name, and by an authority of
//! the file that the operator named or of the system's.
//!
//! A connection that ends without TLS's own goodbye was cut, by whomever: that is an error here, and
//! never an end.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::wire::Socket;

/// The system's authorities, from Debian's package ca-certificates.
pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why there is no TLS.
pub enum TlsError {
    /// The peer is not to be trusted, or does not speak TLS as we do; a lasting fault.
    Untrusted(String),
    /// The connection broke.
    Lost(io::Error),
}

/// One side of a TLS connection, without the socket under it.
pub struct Tls(ClientConnection);

impl Tls {
    /// For a broker of this name or address. The authorities are read anew each time, as they change
    /// while a service runs.
    pub fn new(host: &str, authorities: Option<&Path>) -> Result<Tls, TlsError> {
        let authorities = authorities.unwrap_or(Path::new(AUTHORITIES));
        let roots = read_authorities(authorities).map_err(TlsError::Untrusted)?;
        let wrong = |error: rustls::Error| TlsError::Untrusted(error.to_string());
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Untrusted(format!("{host:?} is no name for a certificate")))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), name).map_err(wrong)?;
        Ok(Tls(session))
    }

    /// Until both sides know whom they talk to.
    pub fn shake_hands(&mut self, socket: &mut Socket) -> Result<(), TlsError> {
        while self.0.is_handshaking() {
            self.0.complete_io(socket).map_err(|error| {
                match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(error) => TlsError::Untrusted(explained(error)),
                    None => TlsError::Lost(error),
                }
            })?;
        }
        self.flush(socket).map_err(TlsError::Lost)
    }

    /// Reads what there is; 0 where the peer said goodbye. Does not depend on whether anything can
    /// still be written.
    pub fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.0.read_tls(socket)?;
            self.0.process_new_packets().map_err(io::Error::other)?;
            // A new key is answered; where that fails, the next write does.
            let _ = self.flush(socket);
        }
    }

    /// Writes all of it.
    pub fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.0.writer().write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            self.flush(socket)?;
        }
        Ok(())
    }

    /// Says goodbye; the peer may still write.
    pub fn close_write(&mut self, socket: &mut Socket) -> io::Result<()> {
        self.0.send_close_notify();
        self.flush(socket)
    }

    fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_authorities(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |what: &dyn std::fmt::Display| {
        format!(
            "the authorities in {} cannot be used: {what}",
            file.display()
        )
    };
    let text = std::fs::read(file).map_err(|error| wrong(&error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.map_err(|error| wrong(&error))?);
    match roots.is_empty() {
        true => Err(wrong(&"there is no certificate in it")),
        false => Ok(roots),
    }
}

/// What an operator can do about it, where that is known.
fn explained(error: &rustls::Error) -> String {
    let hint = match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer => " (cafile must hold the authority that signed it)",
            CertificateError::Other(_) => {
                " (a certificate that signed itself must say basicConstraints=CA:FALSE)"
            }
            _ => "",
        },
        rustls::Error::InvalidMessage(_) => " (is this the broker's port for TLS?)",
        _ => "",
    };
    format!("{error}{hint}")
}
