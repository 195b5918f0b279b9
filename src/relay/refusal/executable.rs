//! Whether an attachment could be run: by its name, by its media type, by its first bytes, and for
//! a zip archive by the names in it.
//!
//! Archives of other kinds are not opened and count as executable, and so does an encrypted
//! archive, or one in another: whoever mails a program packs it so, and a spammer's test of a relay
//! carries none of them.

use memchr::memmem;

use super::zip;
use crate::message::Attachment;

/// How much of a line is looked at that may begin what is uuencoded, in bytes.
const UUENCODED_MAX: usize = 1024;

/// Extensions of what a system runs when it is opened: programs, scripts, installers, shortcuts.
const PROGRAMS: &[&str] = &[
    "action",
    "apk",
    "app",
    "appimage",
    "application",
    "appref-ms",
    "appx",
    "appxbundle",
    "bash",
    "bat",
    "chm",
    "class",
    "cmd",
    "com",
    "command",
    "cpl",
    "crx",
    "csh",
    "deb",
    "desktop",
    "dex",
    "diagcab",
    "dll",
    "drv",
    "dylib",
    "elf",
    "exe",
    "fon",
    "gadget",
    "hlp",
    "hta",
    "inf",
    "ins",
    "ipa",
    "isp",
    "jar",
    "jnlp",
    "js",
    "jse",
    "ksh",
    "library-ms",
    "lnk",
    "msc",
    "msh",
    "msi",
    "msix",
    "msixbundle",
    "msp",
    "mst",
    "msu",
    "ocx",
    "out",
    "pif",
    "pkg",
    "pl",
    "pm",
    "prg",
    "ps1",
    "ps1xml",
    "ps2",
    "psc1",
    "psd1",
    "psm1",
    "py",
    "pyc",
    "pyw",
    "pyz",
    "rb",
    "rdp",
    "reg",
    "rpm",
    "run",
    "scf",
    "scpt",
    "scr",
    "sct",
    "search-ms",
    "service",
    "settingcontent-ms",
    "sh",
    "shb",
    "shs",
    "so",
    "sys",
    "tcl",
    "theme",
    "url",
    "vb",
    "vbe",
    "vbs",
    "vxd",
    "website",
    "ws",
    "wsc",
    "wsf",
    "wsh",
    "xbap",
    "xll",
    "xpi",
    "zsh",
];

/// Extensions of documents that bring macros or programs with them.
const DOCUMENTS: &[&str] = &[
    "accda", "accdb", "accde", "ade", "adp", "docm", "dotm", "iqy", "mam", "mdb", "mde", "one",
    "onepkg", "potm", "ppam", "ppsm", "pptm", "pub", "slk", "sldm", "wiz", "xla", "xlam", "xlm",
    "xlsb", "xlsm", "xltm",
];

/// Extensions of archives and images that are not opened.
const CLOSED: &[&str] = &[
    "001", "7z", "ace", "arc", "arj", "br", "bz", "bz2", "cab", "cpio", "dmg", "gz", "img", "iso",
    "lha", "lz", "lz4", "lzh", "lzma", "r00", "rar", "rev", "tar", "taz", "tbz", "tbz2", "tgz",
    "txz", "tzst", "udf", "uu", "uue", "vhd", "vhdx", "vmdk", "wim", "xar", "xxe", "xz", "z",
    "zst", "zoo",
];

/// Extensions of zip archives: within another archive they are not opened either.
const ZIPS: &[&str] = &["zip", "zipx"];

/// Words in a media type that stand for something to run, or for a closed archive.
const MEDIA_TYPES: &[&str] = &[
    "7z-compressed",
    "ace-compressed",
    "android.package",
    "appimage",
    "apple-diskimage",
    "bat",
    "bytecode",
    "cab-compressed",
    "csh",
    "debian",
    "dosexec",
    "ecmascript",
    "elf",
    "executable",
    "external-body", // is fetched from elsewhere
    "gzip",
    "hta",
    "iso9660",
    "java-applet",
    "java-archive",
    "java-jnlp",
    "java-vm",
    "javascript",
    "lzh",
    "mach-binary",
    "macroenabled",
    "ms-cab",
    "ms-installer",
    "ms-shortcut",
    "ms-tnef", // Outlook's own archive
    "msdos-program",
    "msdownload",
    "msi",
    "onenote",
    "partial", // is put together from several mails
    "perl",
    "powershell",
    "python",
    "rar",
    "rar-compressed",
    "rpm",
    "redhat-package-manager",
    "sh",
    "sharedlib",
    "shellscript",
    "tar",
    "uuencode",
    "vbs",
    "vbscript",
];

/// First bytes of programs, and of archives and images that are not opened.
const BEGINNINGS: &[&[u8]] = &[
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce", // Mach-O, in four ways, and in several architectures
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe", // the same as a Java class
    b"\xca\xfe\xba\xbf",
    b"dex\n",
    b"L\0\0\0\x01\x14\x02\0",            // a shortcut of Windows
    b"!<arch>\n",                        // a package of Debian, or a library
    b"\xed\xab\xee\xdb",                 // a package of Red Hat
    b"ITSF",                             // help of Windows
    b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", // a notebook of OneNote
    b"MSCF",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b",
    b"\x1f\x9d",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"\x60\xea", // ARJ
    b"xar!",
    b"conectix",
    b"vhdxfile",
    b"KDMV",
];

/// The same, where they do not stand first.
const MARKS: &[(usize, &[u8])] = &[
    (2, b"-lh"),
    (7, b"**ACE**"),
    (257, b"ustar"),
    (0x8001, b"CD001"),
    (0x8001, b"BEA01"),
];

/// A compound file: an office document of the old kind, or an installer.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// What stands in a compound file with macros, with something packed into it, or in an installer
/// (its class).
const IN_COMPOUND: &[&[u8]] = &[
    b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0",
    b"\x01\0O\0l\0e\x001\x000\0N\0a\0t\0i\0v\0e\0",
    b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46",
];

/// Whether an attachment could be run, or cannot be looked into.
pub fn is_executable(attachment: &Attachment) -> bool {
    is_name_of_executable(&attachment.name)
        || is_type_of_executable(&attachment.media_type)
        || is_content_executable(&attachment.content)
}

/// Whether a system would run a file of this name, or open a closed archive.
pub(super) fn is_name_of_executable(name: &str) -> bool {
    // A name that turns its own text round is a disguise, whatever it ends in.
    if name.contains(['\u{202d}', '\u{202e}']) {
        return true;
    }
    extension(name).is_some_and(|extension| {
        [PROGRAMS, DOCUMENTS, CLOSED]
            .iter()
            .any(|list| list.contains(&extension.as_str()))
    })
}

/// Whether a part of this name, or a text with such a part in it, is not to be handed on unopened.
pub fn is_name_refused(name: &str) -> bool {
    is_name_of_executable(name) || is_name_of_zip(name)
}

/// Whether a text has a program in it in the way of uuencode, which some mail programs still show as
/// an attachment: a line `begin MODE NAME`.
pub fn holds_uuencoded(text: &[u8]) -> bool {
    memmem::find_iter(text, b"begin").any(|at| {
        let (before, line) = text.split_at(at);
        matches!(before, [] | [.., b'\r' | b'\n'])
            && uuencoded_name(line).is_some_and(|name| is_name_refused(&name))
    })
}

/// The name in a first line that is `begin 644 NAME` or `begin-base64 644 NAME`.
fn uuencoded_name(text: &[u8]) -> Option<String> {
    let text = text.get(..UUENCODED_MAX).unwrap_or(text);
    let line = text.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let line = String::from_utf8_lossy(line.strip_prefix(b"begin")?);
    let line = line.strip_prefix("-base64").unwrap_or(&line);
    let (mode, name) = line.strip_prefix(' ')?.trim_start().split_once(' ')?;
    let is_mode = (3..=4).contains(&mode.len()) && mode.bytes().all(|byte| byte.is_ascii_digit());
    is_mode.then(|| name.trim().to_owned())
}

/// Whether this is the name of an archive that would be opened if it were not within another.
pub(super) fn is_name_of_zip(name: &str) -> bool {
    extension(name).is_some_and(|extension| ZIPS.contains(&extension.as_str()))
}

/// What follows the last dot, as Windows reads it: without what it passes over at the end (spaces,
/// dots, the name of a stream), and without characters that are not seen.
fn extension(name: &str) -> Option<String> {
    let end = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = end.find("::").and_then(|at| end.get(..at)).unwrap_or(end);
    let (_, extension) = end.rsplit_once('.')?;
    let seen = extension.chars().filter(char::is_ascii);
    let kept = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    Some(
        seen.take_while(kept)
            .collect::<String>()
            .to_ascii_lowercase(),
    )
}

fn is_type_of_executable(media_type: &str) -> bool {
    let subtype = media_type
        .split_once('/')
        .map_or("", |(_, subtype)| subtype);
    let is_whole = |word: &str| {
        memmem::find_iter(subtype.as_bytes(), word).any(|at| {
            let borders = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
            let before = at.checked_sub(1).and_then(|at| subtype.as_bytes().get(at));
            borders(before) && borders(subtype.as_bytes().get(at + word.len()))
        })
    };
    MEDIA_TYPES.iter().any(|word| is_whole(word))
}

fn is_content_executable(content: &[u8]) -> bool {
    let stands =
        |&(at, mark): &(usize, &[u8])| content.get(at..).is_some_and(|rest| rest.starts_with(mark));
    BEGINNINGS.iter().any(|mark| content.starts_with(mark))
        || MARKS.iter().any(stands)
        || is_batch(content)
        || content.starts_with(COMPOUND)
            && IN_COMPOUND
                .iter()
                .any(|mark| memmem::find(content, mark).is_some())
        || zip::is_archive(content) && zip::holds_executable(content)
}

/// A script of the Windows shell as most begin.
fn is_batch(content: &[u8]) -> bool {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content
        .get(..5)
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(b"@echo"))
}

#[cfg(test)]
mod tests;
