//! The key of the pseudonyms, in a file of its own.
//!
//! The file holds 64 hexadecimal digits and a line end. It is made once, durable before its name
//! is there, and readable for its owner alone, as the secrets are: whoever has the key can try
//! addresses until one gives a pseudonym. Without it no pseudonym leads back, and a new one gives
//! every address another pseudonym: it belongs into the backup.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::view::hex;
use crate::queue::maildir::{KEPT, make_directory, named, open_regular, sync_directory};

/// Bytes of a key.
const BYTES: usize = 32;
/// Who may read the file.
const MODE: u32 = 0o400;

/// A key. It is shown nowhere.
#[derive(Clone)]
pub struct Key([u8; BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; BYTES]) -> Key {
        Key(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Reads a key's file.
    ///
    /// # Errors
    /// What the file system says, with the path; `InvalidData` where the file holds no key.
    pub fn read(path: &Path) -> io::Result<Key> {
        let mut text = Vec::new();
        // More than a key and its line end is none.
        let most = 2 * BYTES as u64 + 3;
        open_regular(path)
            .and_then(|file| file.take(most).read_to_end(&mut text))
            .map_err(|error| named(path, &error))?;
        let key = parsed(text.trim_ascii_end()).map(Key);
        key.ok_or_else(|| {
            let what = format!(
                "{}: holds no key, which is 64 hexadecimal digits",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    /// Makes a key and its file, and the directory for it; where there is one already, reads that.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn make(path: &Path) -> io::Result<Key> {
        match Key::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        make_directory(directory, KEPT)?;
        let key = Key(random()?);
        let new = path.with_extension(format!("new.{}", std::process::id()));
        let made = write(&new, &key).and_then(|()| {
            // Another process may have made one meanwhile: that one counts.
            match fs::hard_link(&new, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    Err(named(path, &error))
                }
                _ => Ok(()),
            }
        });
        let removed = fs::remove_file(&new).map_err(|error| named(&new, &error));
        made.and(removed)?;
        sync_directory(directory)?;
        Key::read(path)
    }
}

fn write(path: &Path, key: &Key) -> io::Result<()> {
    // One that a process of our number left when it died.
    let _ = fs::remove_file(path);
    let digits: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
    File::options()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
        .and_then(|mut file| {
            file.write_all(format!("{digits}\n").as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| named(path, &error))
}

fn random() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

fn parsed(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut key = [0; BYTES];
    if digits.len() != 2 * BYTES {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = hex(*high)? << 4 | hex(*low)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("hpfeeds/pseudonym.key");
        assert_eq!(
            Key::read(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let key = Key::make(&path).unwrap();
        assert_ne!(key.0, [0; BYTES]);
        assert_eq!(Key::make(&path).unwrap().0, key.0);
        assert_eq!(Key::read(&path).unwrap().0, key.0);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let names = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "nothing else is left");
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn what_is_no_key_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, text).unwrap();
            let error = Key::make(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
            assert!(error.to_string().contains("64 hexadecimal digits"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "Af".repeat(32) + "\r\n").unwrap();
        assert_eq!(Key::read(&path).unwrap().0, [0xaf; BYTES]);
    }
}
