//! All messages of the shared corpora: what is read from them is pinned in
//! `tests/golden/message/corpus.jsonl`, and compared with a second opinion.
//!
//! The corpora stand in `$SHIVA_SHARED` (default `../shared` beside the repository)
//! and are not part of it. Without them the tests pass and say so, unless `CI` is
//! `true`. After a change that is meant to alter results, regenerate the golden file
//! and read its diff:
//!
//! ```text
//! SHIVA_BLESS=1 cargo test --test shiva shared_messages::golden
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use md5::{Digest, Md5};
use serde_json::{Value, json};
use sha2::Sha256;
use shiva::message::{Message, parse};

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/message/corpus.jsonl"
);
const SECOND_OPINION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/message/second_opinion.py"
);

/// Messages on which Python's email package differs, by the start of the file's
/// SHA-256, each with what it differs in and why ours stands.
const DISAGREEMENTS: [(&str, &str, &str); 10] = [
    (
        "713f7737b301",
        "kind body attachments",
        "Content-Type folded where the semicolon is missing: Python finds no boundary",
    ),
    (
        "0a349a7d2712",
        "kind body attachments",
        "boundary folded inside its quotes: Python keeps the line break in it",
    ),
    (
        "b436f63021a2",
        "subject kind body",
        "white space in the first field's name: Python takes all headers for the body",
    ),
    (
        "97179317510d",
        "body",
        "no closing delimiter: Python drops the last line break of the part all the same",
    ),
    ("127cf48cc5aa", "body", "as above"),
    ("284ab4f00126", "body", "as above"),
    ("7ead2546e806", "body", "as above"),
    (
        "5890507921d5",
        "kind body",
        "boundaries that end in dashes: Python takes the inner delimiter for a closing one",
    ),
    (
        "5b3f5e5eaab1",
        "attachments",
        "one boundary for two levels: Python loses what follows the inner close",
    ),
    ("8f1c4f13d767", "attachments", "as above"),
];

/// The directories of the corpora, or None when this machine has none.
pub fn corpora() -> Option<[PathBuf; 2]> {
    let shared = std::env::var_os("SHIVA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let found = [shared.join("mime"), shared.join("spam")];
    if found.iter().all(|directory| directory.is_dir()) {
        return Some(found);
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "no shared messages in {}", shared.display());
    println!("no shared messages in {}: nothing tested", shared.display());
    None
}

pub fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(path);
        }
    }
}

/// All messages, by the SHA-256 of the file.
fn messages(directories: &[PathBuf]) -> BTreeMap<String, Message> {
    let mut found = Vec::new();
    for directory in directories {
        files(directory, &mut found);
    }
    let read = |path: &PathBuf| {
        let raw = fs::read(path).expect("a readable file");
        let message = parse(&raw).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (hex(&Sha256::digest(&raw)), message)
    };
    found.iter().map(read).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(message: &Message) -> &'static str {
    match (message.html.is_empty(), message.text.is_empty()) {
        (false, _) => "html",
        (true, false) => "text",
        (true, true) => "none",
    }
}

fn record(sha256: &str, message: &Message) -> Value {
    let md5 = |text: &str| hex(&Md5::digest(text));
    let attachment = |a: &shiva::message::Attachment| {
        json!({
            "name": a.name, "type": a.media_type, "inline": a.inline,
            "size": a.content.len(), "md5": hex(&a.md5), "sha256": hex(&a.sha256),
        })
    };
    let attachments: Vec<_> = message.attachments.iter().map(attachment).collect();
    json!({
        "file": sha256,
        "id": md5(&format!("{}{}", message.subject, message.body())),
        "length": message.subject.len() + message.body().len(),
        "body": kind(message),
        "text": message.text.len(),
        "from": md5(&message.from),
        "to": message.to.len(),
        "headers": md5(&message.headers),
        "links": message.links.len(),
        "links_md5": md5(&message.links.join("\n")),
        "attachments": attachments,
    })
}

#[test]
fn golden() {
    let Some(directories) = corpora() else { return };
    let found = messages(&directories);
    let lines: Vec<String> = found
        .iter()
        .map(|(sha256, message)| record(sha256, message).to_string())
        .collect();
    if std::env::var_os("SHIVA_BLESS").is_some() {
        fs::write(GOLDEN, lines.join("\n") + "\n").expect("a writable golden file");
    }
    let golden = fs::read_to_string(GOLDEN).expect("the golden file");
    let golden: Vec<&str> = golden.lines().collect();
    assert!(!golden.is_empty(), "the golden file has no records");
    assert_eq!(lines.len(), golden.len(), "messages found and pinned");
    let wrong: Vec<_> = lines.iter().zip(&golden).filter(|(a, b)| a != *b).collect();
    assert!(wrong.is_empty(), "{} changed: {wrong:#?}", wrong.len());
}

/// The fields in which the second opinion differs, named in [`DISAGREEMENTS`]'s way.
fn differences(message: &Message, opinion: &Value) -> String {
    if let Some(error) = opinion.get("error") {
        return format!("error {error}");
    }
    let mut fields = Vec::new();
    if opinion["subject"] != message.subject.as_str() {
        fields.push("subject");
    }
    if opinion["kind"] != kind(message) {
        fields.push("kind");
    }
    if opinion["body"] != message.body() {
        fields.push("body");
    }
    let attachments = opinion["attachments"].as_array().expect("a list");
    let same = attachments.len() == message.attachments.len()
        && attachments
            .iter()
            .zip(&message.attachments)
            .all(|(theirs, ours)| theirs.is_null() || *theirs == hex(&ours.sha256).as_str());
    if !same {
        fields.push("attachments");
    }
    fields.join(" ")
}

#[test]
fn second_opinion() {
    let Some(directories) = corpora() else { return };
    let found = messages(&directories);
    let output = Command::new("python3")
        .args(["-W", "ignore", SECOND_OPINION])
        .args(&directories)
        .output()
        .expect("python3 runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "second_opinion.py: {complaint}");
    let opinions = String::from_utf8(output.stdout).expect("UTF-8");
    let mut seen = 0;
    let mut unexplained = Vec::new();
    let mut explained = 0;
    for line in opinions.lines() {
        let opinion: Value = serde_json::from_str(line).expect("JSON");
        let sha256 = opinion["sha256"].as_str().expect("a digest");
        let message = found.get(sha256).expect("a message of the corpora");
        seen += 1;
        let known = DISAGREEMENTS
            .iter()
            .find(|(file, ..)| sha256.starts_with(file));
        let expected = known.map_or("", |(_, fields, _)| fields);
        let actual = differences(message, &opinion);
        explained += usize::from(known.is_some() && actual == expected);
        if actual != expected {
            unexplained.push(format!(
                "{sha256}: differs in {actual:?}, known {expected:?}"
            ));
        }
    }
    assert_eq!(seen, found.len(), "opinions on all messages");
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!(explained, DISAGREEMENTS.len(), "disagreements still there");
    println!("{} of {seen} agree", seen - explained);
}
