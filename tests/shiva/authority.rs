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
        Authority::signing_itself(directory, name, &["keyUsage=keyCertSign"])
    }

    /// A key and a certificate with these extensions that signed itself.
    pub fn signing_itself(directory: &Path, name: &str, extensions: &[&str]) -> Authority {
        let authority = Authority {
            directory: directory.to_owned(),
            name: name.to_owned(),
        };
        authority.request(name, &[], extensions);
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
        let signer = [
            "-CA",
            certificate.to_str().unwrap(),
            "-CAkey",
            key.to_str().unwrap(),
        ];
        self.request(name, &signer, &["basicConstraints=CA:FALSE", extension]);
    }

    fn request(&self, name: &str, signer: &[&str], extensions: &[&str]) {
        let file = |kind: &str| self.directory.join(format!("{name}.{kind}"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.arg("-subj").arg(format!("/CN={name}"));
        openssl.arg("-keyout").arg(file("key"));
        openssl.arg("-out").arg(file("pem"));
        for extension in extensions {
            openssl.args(["-addext", extension]);
        }
        let made = finish(openssl.args(signer));
        assert!(made.status.success(), "{made:?}");
    }
}
