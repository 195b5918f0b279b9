use super::*;
use crate::message;

fn attachment(name: &str, media_type: &str, content: &[u8]) -> Attachment {
    Attachment {
        name: name.into(),
        media_type: media_type.into(),
        inline: false,
        md5: [0; 16],
        sha256: [0; 32],
        content: content.to_vec(),
    }
}

fn le16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_le_bytes()
}

/// A zip archive of stored members without content, named so before each member and, where it is
/// another name, in the directory.
fn zip_of(members: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, listed) in members {
        archive.extend_from_slice(b"PK\x03\x04\x14\0");
        archive.extend_from_slice(&[flags, 0]);
        archive.extend_from_slice(&[0; 18]);
        archive.extend_from_slice(&le16(name.len()));
        archive.extend_from_slice(&[0; 2]);
        archive.extend_from_slice(name.as_bytes());
        directory.extend_from_slice(b"PK\x01\x02\x14\0\x14\0");
        directory.extend_from_slice(&[flags, 0]);
        directory.extend_from_slice(&[0; 18]);
        directory.extend_from_slice(&le16(listed.len()));
        directory.extend_from_slice(&[0; 16]);
        directory.extend_from_slice(listed.as_bytes());
    }
    let at = archive.len();
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&le16(members.len()));
    archive.extend_from_slice(&le16(members.len()));
    archive.extend_from_slice(&u32::try_from(directory.len()).unwrap().to_le_bytes());
    archive.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    archive
}

fn zip(names: &[&str]) -> Vec<u8> {
    let members: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    zip_of(&members, 0)
}

#[test]
fn harmless_attachments_pass() {
    let docx = zip(&[
        "[Content_Types].xml",
        "word/document.xml",
        "word/media/image1.png",
    ]);
    let xlsx = zip(&["xl/workbook.xml", "xl/printerSettings/printerSettings1.bin"]);
    for (name, media_type, content) in [
        (
            "invoice.pdf",
            "application/pdf",
            &b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"[..],
        ),
        ("photo.jpg", "image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("", "image/png", b"\x89PNG\r\n\x1a\n"),
        (
            "notes.txt",
            "text/plain",
            b"Run setup.exe? No. PK\x03\x04 is no archive here.",
        ),
        ("page.html", "text/html", b"<html><a href=\"a.exe\">"),
        ("letter.docx", "application/octet-stream", &docx),
        ("sheet.xlsx", "application/zip", &xlsx),
        (
            "old.doc",
            "application/msword",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 no macros",
        ),
        (
            "photos.zip",
            "application/x-zip-compressed",
            &zip(&["a/b.jpg", "c.txt"]),
        ),
        ("exe", "application/octet-stream", b""),
        ("about exe and scr", "text/calendar", b"BEGIN:VCALENDAR"),
        ("report.v1.exe.pdf", "application/pdf", b"%PDF"),
        (".gitignore", "text/plain", b"*.o"),
        (
            "\u{645}\u{631}\u{62d}\u{628}\u{627}.pdf",
            "application/pdf",
            b"%PDF",
        ),
    ] {
        assert!(
            !is_executable(&attachment(name, media_type, content)),
            "{name} {media_type}"
        );
    }
}

#[test]
fn names_tell() {
    for name in [
        "setup.exe",
        "SETUP.EXE",
        "invoice.pdf.exe",
        "invoice.pdf          .exe",
        "a.scr",
        "a.com",
        "a.js",
        "a.vbs",
        "a.hta",
        "a.lnk",
        "a.jar",
        "a.ps1",
        "a.msi",
        "a.dll",
        "a.apk",
        "a.deb",
        "a.sh",
        "a.iso",
        "a.img",
        "a.vhd",
        "a.docm",
        "a.xlsm",
        "a.pptm",
        "a.one",
        "a.appref-ms",
        "a.rar",
        "a.r00",
        "a.7z",
        "a.cab",
        "a.ace",
        "a.tar.gz",
        "a.exe.",
        "a.exe . . ",
        "a.exe\0",
        "a.exe\"",
        "a.exe::$DATA",
        "a.\u{200b}exe",
        "a.e\u{200d}xe\u{feff}",
        "..\\..\\a.exe",
        "C:\\a.bat",
        "ann\u{202e}fdp.exe",
        "ann\u{202e}exe.pdf",
    ] {
        let attachment = attachment(name, "application/octet-stream", b"");
        assert!(is_executable(&attachment), "{name:?}");
    }
}

#[test]
fn media_types_tell() {
    for media_type in [
        "application/x-msdownload",
        "application/vnd.microsoft.portable-executable",
        "application/x-sh",
        "text/javascript",
        "application/java-archive",
        "application/hta",
        "application/vnd.android.package-archive",
        "application/vnd.debian.binary-package",
        "application/vnd.ms-excel.sheet.macroenabled.12",
        "application/x-iso9660-image",
        "application/x-7z-compressed",
        "application/vnd.rar",
        "application/gzip",
    ] {
        assert!(
            is_executable(&attachment("a", media_type, b"")),
            "{media_type}"
        );
    }
    for media_type in [
        "application/x-shared",
        "image/x-target",
        "text/x-hash",
        "x/y",
    ] {
        assert!(
            !is_executable(&attachment("a", media_type, b"")),
            "{media_type}"
        );
    }
}

#[test]
fn contents_tell() {
    let at = |offset: usize, mark: &[u8]| [&vec![0; offset], mark].concat();
    let macros = [COMPOUND, b"...", IN_COMPOUND[0]].concat();
    let packed = [COMPOUND, b"...", IN_COMPOUND[1]].concat();
    let installer = [COMPOUND, b"...", IN_COMPOUND[2]].concat();
    for content in [
        &b"MZ\x90\0"[..],
        b"\x7fELF\x02",
        b"#!/bin/sh\n",
        b"\xcf\xfa\xed\xfe\x07",
        b"\xca\xfe\xba\xbe\0\0\0\x34",
        b"L\0\0\0\x01\x14\x02\0\0\0",
        b"@Echo off\r\n",
        b"\xef\xbb\xbf@echo off\r\n",
        b"Rar!\x1a\x07\x01\0",
        b"7z\xbc\xaf\x27\x1c",
        b"MSCF\0\0\0\0",
        b"\x1f\x8b\x08",
        &at(7, b"**ACE**"),
        &at(0x8001, b"CD001"),
        &macros,
        &packed,
        &installer,
    ] {
        let attachment = attachment("photo.jpg", "image/jpeg", content);
        assert!(is_executable(&attachment), "{:?}", content.get(..8));
    }
}

#[test]
fn zip_archives_tell_by_their_names() {
    for (what, archive) in [
        ("a program", zip(&["readme.txt", "docs/setup.exe"])),
        ("a windows path", zip(&["docs\\setup.EXE. "])),
        (
            "a program in the directory only",
            zip_of(&[("a.txt", "a.exe")], 0),
        ),
        (
            "a program before its member only",
            zip_of(&[("a.exe", "a.txt")], 0),
        ),
        (
            "a long name",
            zip(&[&format!("{}.exe", "n".repeat(60_000))]),
        ),
        ("java", zip(&["META-INF/MANIFEST.MF", "Main.class"])),
        ("macros", zip(&["word/document.xml", "word/vbaProject.bin"])),
        ("a packed file", zip(&["word/embeddings/oleObject1.bin"])),
        ("an archive", zip(&["a.txt", "inner.zip"])),
        ("a closed archive", zip(&["inner.rar"])),
        ("an encrypted member", zip_of(&[("a.txt", "a.txt")], 1)),
        ("nothing", zip(&[])),
        ("a beginning only", b"PK\x03\x04".to_vec()),
        (
            "something before it",
            [b"junk".to_vec(), zip(&["a.exe"])].concat(),
        ),
        ("a member that was cut off", {
            let mut archive = zip(&["a.txt", "b.exe"]);
            archive.truncate(80);
            archive
        }),
    ] {
        let attachment = attachment("a.zip", "application/zip", &archive);
        assert!(is_executable(&attachment), "{what}");
    }
}

#[test]
fn too_many_members_are_not_looked_at() {
    let names: Vec<String> = (0..10_001).map(|n| format!("{n}.txt")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let harmless = attachment("a.zip", "application/zip", &zip(&names[..10_000]));
    assert!(!is_executable(&harmless));
    assert!(is_executable(&attachment(
        "a.zip",
        "application/zip",
        &zip(&names)
    )));
}

/// Headers within headers, each with the longest name, cost no more than the bytes that are there.
#[test]
fn a_zip_of_overlapping_names_is_refused_soon() {
    let header = [&b"PK\x03\x04"[..], &[0; 22], &[0xff, 0xff], &[0; 2]].concat();
    let archive = header.repeat(200_000);
    assert!(is_executable(&attachment("a", "application/zip", &archive)));
}

#[test]
fn a_message_with_a_pdf_and_a_picture_passes_and_with_a_program_not() {
    let with = |name: &str, media_type: &str, base64: &str| {
        let mail = format!(
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\n\r\ntext\r\n--b\r\nContent-Type: {media_type}; name=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--b--\r\n"
        );
        let message = message::parse(mail.as_bytes()).unwrap();
        assert_eq!(message.attachments.len(), 1);
        message.attachments.iter().any(is_executable)
    };
    assert!(!with("a.pdf", "application/pdf", "JVBERi0xLjQK"));
    assert!(!with("a.jpg", "image/jpeg", "/9j/4AAQSkZJRg=="));
    assert!(with("a.pdf", "application/pdf", "TVqQAAMAAAAEAAAA"));
    assert!(with(
        "=?utf-8?q?a=2Eexe?=",
        "application/pdf",
        "JVBERi0xLjQK"
    ));
    assert!(!with("a.txt", "application/octet-stream", "dGV4dA=="));
}
