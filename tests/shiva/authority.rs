//! Certificates for tests of TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::finish;

/// An authority of a test's own, and what it signs.
pub struct Authority {
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// Makes its key and certificate in a directory, as `NAME.key` and `NAME.pem`.
    pub fn new(directory: &Path, name: &str) -> Authority {
        let authority = Authority {
            directory: directory.to_owned(),
            name: name.to_owned(),
        };
        authority.request(name, &["-x509", "-addext", "keyUsage=keyCertSign"]);
        authority
    }

    /// The file of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.name))
    }

    /// Makes a key and a certificate beside its own: `NAME.key` and `NAME.pem`.
    pub fn sign(&self, name: &str, extension: &str) {
        let certificate = self.certificate();
        let key = self.directory.join(format!("{}.key", self.name));
        self.request(
            name,
            &[
                "-x509",
                "-CA",
                certificate.to_str().unwrap(),
                "-CAkey",
                key.to_str().unwrap(),
                "-addext",
                "basicConstraints=CA:FALSE",
                "-addext",
                extension,
            ],
        );
    }

    fn request(&self, name: &str, arguments: &[&str]) {
        let file = |kind: &str| self.directory.join(format!("{name}.{kind}"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-newkey", "ec", "-nodes", "-days", "2"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.arg("-subj").arg(format!("/CN={name}"));
        openssl.arg("-keyout").arg(file("key"));
        openssl.arg("-out").arg(file("pem"));
        let made = finish(openssl.args(arguments));
        assert!(made.status.success(), "{made:?}");
    }
}
