//! The fingerprint of a TLS client: JA4, as FoxIO publishes it (JA4 alone, which is free to use).
//!
//! Pure: the first bytes of a connection in, a [`Hello`] out, which knows its fingerprint and the
//! name that was asked for. What is cut short or no ClientHello gives none. Bytes are a stranger's:
//! every length is checked by taking what it says from what there is.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::fingerprint::hex;

const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000d;
const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002b;

/// What JA4 looks at in a ClientHello. GREASE values (RFC 8701) are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    signatures: Vec<u16>,
    /// The first protocol of the ALPN extension.
    protocol: Vec<u8>,
    server_name: Option<Vec<u8>>,
}

impl Hello {
    /// Reads the ClientHello that a TLS connection begins with.
    pub fn read(connection: &[u8]) -> Option<Hello> {
        let handshake = handshake(connection);
        let mut handshake = Bytes(&handshake);
        if handshake.u8()? != 1 {
            return None;
        }
        let length = usize::from(handshake.u8()?) << 16 | usize::from(handshake.u16()?);
        let mut body = Bytes(handshake.take(length)?);
        let mut hello = Hello {
            version: body.u16()?,
            ..Hello::default()
        };
        body.take(32)?; // random
        let session = body.u8()?;
        body.take(session.into())?;
        let ciphers = body.u16()?;
        hello.ciphers = values(body.take(ciphers.into())?);
        let compressions = body.u8()?;
        body.take(compressions.into())?;
        if !body.0.is_empty() {
            let extensions = body.u16()?;
            hello.extensions(Bytes(body.take(extensions.into())?))?;
        }
        Some(hello)
    }

    fn extensions(&mut self, mut all: Bytes<'_>) -> Option<()> {
        while !all.0.is_empty() {
            let (kind, length) = (all.u16()?, all.u16()?);
            let mut extension = Bytes(all.take(length.into())?);
            if is_grease(kind) {
                continue;
            }
            self.extensions.push(kind);
            match kind {
                SERVER_NAME => self.server_name = server_name(extension),
                SIGNATURE_ALGORITHMS => {
                    let length = extension.u16()?;
                    self.signatures = values(extension.take(length.into())?);
                }
                ALPN => {
                    extension.u16()?; // length of the list
                    let length = extension.u8().unwrap_or(0);
                    self.protocol = extension.take(length.into()).unwrap_or_default().to_vec();
                }
                SUPPORTED_VERSIONS => {
                    let length = extension.u8()?;
                    let versions = values(extension.take(length.into())?);
                    self.version = versions.into_iter().max().unwrap_or(0);
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The name of the server that the client wants, as it came.
    pub fn server_name(&self) -> Option<&[u8]> {
        self.server_name.as_deref()
    }

    /// The fingerprint.
    pub fn ja4(&self) -> String {
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let named = match self.extensions.contains(&SERVER_NAME) {
            true => 'd',
            false => 'i',
        };
        let count = |values: &[u16]| values.len().min(99);
        format!(
            "t{version}{named}{:02}{:02}{}_{}_{}",
            count(&self.ciphers),
            count(&self.extensions),
            ends(&self.protocol),
            digest(&list(sorted(&self.ciphers))),
            digest(&self.extension_text())
        )
    }

    /// Extensions without those that the first part tells of, and the signature algorithms.
    fn extension_text(&self) -> String {
        let told = [SERVER_NAME, ALPN];
        let extensions = sorted(&self.extensions);
        let mut text = list(extensions.into_iter().filter(|kind| !told.contains(kind)));
        if !text.is_empty() && !self.signatures.is_empty() {
            text.push('_');
            text.push_str(&list(self.signatures.iter().copied()));
        }
        text
    }
}

/// Joins what the TLS records at the beginning of a connection hold of the handshake.
fn handshake(connection: &[u8]) -> Vec<u8> {
    let mut records = Bytes(connection);
    let mut joined = Vec::new();
    while records.u8() == Some(22) {
        let (_version, length) = (records.u16(), records.u16());
        // The last one may be cut: it holds more than the hello.
        let length = usize::from(length.unwrap_or(0)).min(records.0.len());
        joined.extend_from_slice(records.take(length).unwrap_or_default());
    }
    joined
}

fn server_name(mut extension: Bytes<'_>) -> Option<Vec<u8>> {
    extension.u16()?; // length of the list
    let kind = extension.u8()?;
    let length = extension.u16()?;
    let name = extension.take(length.into())?;
    (kind == 0).then(|| name.to_vec())
}

/// Whether a value is one of those that mean nothing (RFC 8701).
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Two-byte values without GREASE; an odd byte at the end is passed over.
fn values(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let values = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    values.filter(|value| !is_grease(*value)).collect()
}

fn sorted(values: &[u16]) -> Vec<u16> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
}

fn list(values: impl IntoIterator<Item = u16>) -> String {
    let mut list = String::new();
    for value in values {
        let comma = if list.is_empty() { "" } else { "," };
        let _ = write!(list, "{comma}{value:04x}");
    }
    list
}

/// Twelve digits of SHA-256; zeros where there is nothing to hash.
fn digest(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    hex(Sha256::digest(text).get(..6).unwrap_or_default())
}

/// The first and the last character of a protocol's name, of its hexadecimal form where either is
/// not alphanumeric.
fn ends(protocol: &[u8]) -> String {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return "00".into();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last].map(char::from).iter().collect();
    }
    let digits = hex(protocol);
    let mut digits = digits.chars();
    let (first, last) = (digits.next(), digits.next_back());
    first.into_iter().chain(last).collect()
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first()).copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from(self.u8()?) << 8 | u16::from(self.u8()?))
    }
}

#[cfg(test)]
mod tests;
