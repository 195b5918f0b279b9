//! TLS: with which certificate, in which versions, and what a handshake shows of a client.
//!
//! A configured certificate and key are read at start and again at a reload; what is wrong with
//! them ends the start. Where none are configured, a self-signed pair is made, in memory only, for
//! the name that the receiver goes by: STARTTLS is always real, as with most mail servers that
//! nobody cared for. TLS 1.2 and 1.3. A handshake is bounded in time by the caller and in memory by
//! rustls, and of the client's bytes at most [`HELLO_MAX`] are looked at for its fingerprint.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ProtocolVersion, ServerConfig};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::ja4::Hello;
use crate::exit::{Exit, Failure};

/// Bytes of memory that an encrypted session costs beside what any costs, about.
pub const SESSION_BYTES: usize = 40 * 1024;

/// Bytes of a connection in which its ClientHello is looked for. Those of browsers have 2,000.
const HELLO_MAX: usize = 16 * 1024;

/// How long a certificate of ours is good for, half of it past.
const VALID: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where a certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and those between it and its root, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Pair {
    /// The file of the two that the caller is not permitted to read, if there is one.
    pub fn unreadable(&self) -> Option<PathBuf> {
        let denied = |path: &&PathBuf| {
            File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        [&self.certificate, &self.key]
            .into_iter()
            .find(denied)
            .cloned()
    }
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our end of TLS.
#[derive(Clone)]
pub struct Server {
    /// What does handshakes.
    pub acceptor: TlsAcceptor,
    /// The certificate that it shows, and those between it and its root.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Our end, with the configured pair or one made for `hostname`.
pub fn server(pair: Option<&Pair>, hostname: &str) -> Result<Server, Failure> {
    let wrong = |what: String| Failure::new(Exit::Config, what);
    let (certificates, key) = match pair {
        Some(pair) => read(pair).map_err(wrong)?,
        None => self_signed(hostname)
            .map_err(|error| wrong(format!("cannot make a certificate: {error}")))?,
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(certificates.clone(), key))
        .map_err(|error| wrong(unfit(pair, &error)))?;
    Ok(Server {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        certificates,
    })
}

fn read(pair: &Pair) -> Result<Chain, String> {
    let cannot = |key: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!(
            "[receiver] {key} : {}: {error}; give a file in PEM that the receiver's user can \
             read, or set tlscert and tlskey to nothing: then a pair is made at start",
            path.display()
        )
    };
    let wrong = |error: &dyn std::fmt::Display| cannot("tlscert", &pair.certificate, error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&error))?;
    if certificates.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&pair.key);
    let key = key.map_err(|error| cannot("tlskey", &pair.key, &error))?;
    Ok((certificates, key))
}

fn unfit(pair: Option<&Pair>, error: &rustls::Error) -> String {
    match pair {
        Some(pair) => format!(
            "[receiver] tlscert : {} and tlskey : {} cannot be used: {error}; give a certificate \
             and its own key, RSA, ECDSA or Ed25519",
            pair.certificate.display(),
            pair.key.display()
        ),
        None => format!("cannot use the certificate that was made: {error}"),
    }
}

fn self_signed(hostname: &str) -> Result<Chain, rcgen::Error> {
    let key = KeyPair::generate()?;
    // A name that cannot stand in a certificate is the machine's own all the same.
    let name = if hostname.is_ascii() {
        hostname
    } else {
        "localhost"
    };
    let mut wanted = CertificateParams::new(vec![name.to_owned()])?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    wanted.not_before = (now - VALID / 2).into();
    wanted.not_after = (now + VALID / 2).into();
    let certificate = wanted.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((vec![certificate.der().clone()], key))
}

/// What was seen of a handshake.
#[derive(Debug, Default)]
pub struct Seen {
    /// The version agreed on, as OpenSSL names it.
    pub version: Option<&'static str>,
    /// The cipher agreed on, as IANA names it.
    pub cipher: Option<String>,
    /// What the client said first.
    pub hello: Option<Hello>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Does a handshake, until `give_up` says why there is to be an end of it.
pub async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    give_up: impl Future<Output = io::Error>,
) -> (Seen, io::Result<TlsStream<Tap>>) {
    let heard = Arc::new(Mutex::default());
    let tap = Tap {
        stream,
        heard: Arc::downgrade(&heard),
    };
    let result = tokio::select! {
        result = acceptor.accept(tap) => result,
        reason = give_up => Err(reason),
    };
    let heard = std::mem::take(&mut *lock(&heard));
    let mut seen = Seen {
        hello: Hello::read(&heard),
        ..Seen::default()
    };
    match &result {
        Ok(stream) => {
            let session = stream.get_ref().1;
            seen.version = session.protocol_version().map(version_name);
            let suite = session.negotiated_cipher_suite();
            seen.cipher = suite.map(|suite| cipher_name(&format!("{:?}", suite.suite())));
        }
        Err(error) => seen.error = Some(error.to_string()),
    }
    (seen, result)
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "TLS",
    }
}

/// rustls writes the version into the names of TLS 1.3's ciphers.
fn cipher_name(suite: &str) -> String {
    suite.replacen("TLS13_", "TLS_", 1)
}

/// A socket that keeps the first bytes that came, while somebody wants them.
#[derive(Debug)]
pub struct Tap {
    stream: TcpStream,
    heard: Weak<Mutex<Vec<u8>>>,
}

fn lock(heard: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(heard) = self.heard.upgrade() {
            let new = buffer.filled().get(before..).unwrap_or_default();
            let mut heard = lock(&heard);
            let room = HELLO_MAX.saturating_sub(heard.len());
            heard.extend(new.iter().take(room));
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_for_any_name() {
        for name in [
            "mx.example.net",
            "localhost",
            "my host",
            "b\u{fc}cher.example",
            "",
        ] {
            assert!(server(None, name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said_with_the_remedy() {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let pem = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let wanted = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = wanted.self_signed(&key).unwrap();
            let armour = |kind: &str, der: &[u8]| {
                use base64::Engine;
                let text = base64::engine::general_purpose::STANDARD.encode(der);
                format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
            };
            (
                file(
                    &format!("{name}.crt"),
                    &armour("CERTIFICATE", certificate.der()),
                ),
                file(
                    &format!("{name}.key"),
                    &armour("PRIVATE KEY", &key.serialize_der()),
                ),
            )
        };
        let (certificate, key) = pem("one");
        let (_, other) = pem("other");
        let empty = file("empty", "");
        let missing = scratch.path().join("missing");
        for (certificate, key, said) in [
            (&certificate, &key, ""),
            (&certificate, &other, "tlskey : "),
            (&missing, &key, "tlscert : "),
            (&certificate, &missing, "tlskey : "),
            (&empty, &key, "no certificate in it"),
            (&certificate, &empty, "tlskey : "),
        ] {
            let (certificate, key) = (certificate.clone(), key.clone());
            let result = server(Some(&Pair { certificate, key }), "mx.example.net");
            match result {
                Ok(_) => assert_eq!(said, ""),
                Err(failure) => {
                    assert_eq!(failure.exit, Exit::Config);
                    let text = failure.to_string();
                    assert!(!said.is_empty() && text.contains(said), "{text}");
                    assert!(text.contains("; give "), "{text}");
                }
            }
        }
    }
}
