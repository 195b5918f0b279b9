//! What a zip archive holds, by the names in it. Nothing is decompressed.
//!
//! Every name is looked at, in the directory at the end and before each member: programs that
//! open archives do not agree on which counts, and senders know it. Both are found by their
//! signatures, so a directory that points elsewhere hides nothing. An archive that shows no
//! name, too many, an encrypted member or another archive is taken for one that holds a program.
//!
//! One pass for each signature, and a bounded piece of each name.

use memchr::memmem;

use super::executable::{is_name_of_executable, is_name_of_zip};

/// Most members that are looked at.
const MEMBERS_MAX: usize = 10_000;

/// How much of a name's end is looked at, in bytes.
const NAME_MAX: usize = 256;

/// Longest end of an archive: its fixed part and a comment.
const END_MAX: usize = 22 + 65_535;

/// Bit of the flags that says that a member is encrypted.
const ENCRYPTED: u8 = 1;

/// Members of office documents that hold macros or packed files.
const MACROS: &[&str] = &[
    "vbaproject",
    "/embeddings/oleobject",
    "/activex/",
    "/macrosheets/",
];

/// Where the parts of a header stand that says what a member is called.
struct Header {
    signature: &'static [u8],
    flags: usize,
    name_length: usize,
    name: usize,
}

const HEADERS: [Header; 2] = [
    Header {
        signature: b"PK\x03\x04", // before each member
        flags: 6,
        name_length: 26,
        name: 30,
    },
    Header {
        signature: b"PK\x01\x02", // in the directory
        flags: 8,
        name_length: 28,
        name: 46,
    },
];

/// Whether programs would open this as a zip archive: it begins as one or as a part of one, or has
/// the end of one, whatever stands before.
pub fn is_archive(content: &[u8]) -> bool {
    let begins = [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"PK00"]
        .iter()
        .any(|mark| content.starts_with(*mark));
    let tail = content.get(content.len().saturating_sub(END_MAX)..);
    begins || tail.is_some_and(|tail| memmem::find(tail, b"PK\x05\x06").is_some())
}

/// Whether an archive holds something that could be run, or cannot be looked into.
pub fn holds_executable(content: &[u8]) -> bool {
    let mut members = 0;
    for header in &HEADERS {
        for at in memmem::find_iter(content, header.signature) {
            let Some(member) = content.get(at..).and_then(|bytes| header.read(bytes)) else {
                continue; // cut off, or bytes that only look like a header
            };
            members += 1;
            if members > 2 * MEMBERS_MAX || member.is_refused() {
                return true;
            }
        }
    }
    members == 0
}

struct Member {
    encrypted: bool,
    name: String,
}

impl Member {
    fn is_refused(&self) -> bool {
        let name = self.name.to_ascii_lowercase().replace('\\', "/");
        self.encrypted
            || is_name_of_executable(&name)
            || is_name_of_zip(&name)
            || MACROS.iter().any(|part| name.contains(part))
    }
}

impl Header {
    fn read(&self, bytes: &[u8]) -> Option<Member> {
        let [low, high] = *bytes.get(self.name_length..)?.first_chunk()?;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let name = bytes.get(self.name..)?.get(..length)?;
        let end = name.get(length.saturating_sub(NAME_MAX)..)?;
        Some(Member {
            encrypted: bytes.get(self.flags)? & ENCRYPTED != 0,
            name: String::from_utf8_lossy(end).into_owned(),
        })
    }
}
