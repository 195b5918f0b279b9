//! Hashing and comparing give, bit for bit, what libfuzzy gives.
//!
//! Checked over all real mail at hand and over random buffers. The directory of
//! real mail is `SHIVA_SHARED`, or `../shared` beside the repository; where it
//! is missing the test says so and passes, except in CI (`CI=true`), where that
//! is a failure.

use shiva::fingerprint::{self, Ctph, SpamId};
use shiva::sameness::{Index, Query, Scratch};
use std::path::{Path, PathBuf};

/// A small seeded generator (xorshift), so that failures can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The score that the product gives two digests, by way of the index.
fn our_score(one: &Ctph, other: &Ctph) -> u8 {
    let mut index = Index::new();
    index.insert(0, SpamId::from([1; 16]), Some(one), 0);
    let query = Query {
        id: SpamId::from([2; 16]),
        digest: Some(other),
        lengths: 0..=0,
        threshold: 1,
    };
    let found = index.find(&query, &mut Scratch::new());
    found.map_or(0, |m| m.score as u8)
}

fn check_pair(one: &Ctph, other: &Ctph) -> u8 {
    let score = libfuzzy::compare(&one.to_string(), &other.to_string()).expect("digests");
    assert_eq!(our_score(one, other), score, "{one} {other}");
    assert_eq!(our_score(other, one), score, "{other} {one}");
    score
}

fn check_hash(subject: &str, body: &str) -> Ctph {
    let ours = fingerprint::ctph(subject, body);
    let buffer = format!("{body} {subject}");
    let theirs = libfuzzy::hash(buffer.as_bytes()).expect("a digest");
    assert_eq!(ours.to_string(), theirs, "{} bytes", buffer.len());
    assert_eq!(theirs.parse(), Ok(ours), "read back");
    ours
}

fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let directory = std::env::var_os("SHIVA_SHARED").map_or_else(beside, PathBuf::from);
    if directory.join("spam").is_dir() && directory.join("mime").is_dir() {
        return Some(directory);
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "no real mail in {}", directory.display());
    eprintln!("not checked: no real mail in {}", directory.display());
    None
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("a readable directory");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn real_mail() {
    let Some(shared) = shared() else { return };
    let mut files = Vec::new();
    files_below(&shared.join("spam"), &mut files);
    files_below(&shared.join("mime"), &mut files);
    assert!(files.len() > 100, "{} files", files.len());
    let mut digests = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("a readable file");
        let text = String::from_utf8_lossy(&bytes);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        digests.push(check_hash(&name, &text));
        // The body alone, shorter and without the headers that mails share.
        let body = text.split_once("\n\n").map_or("", |(_, body)| body);
        digests.push(check_hash("", body));
        digests.push(check_hash(&name, &body.replacen(' ', "  ", 9)));
    }
    let mut alike = 0;
    for (place, one) in digests.iter().enumerate() {
        for other in digests[place..].iter().take(8) {
            alike += usize::from(check_pair(one, other) > 0);
        }
    }
    assert!(alike > digests.len(), "only {alike} pairs alike");
}

/// Text of a few words, random letters and long runs, of about `size` bytes.
fn random_text(random: &mut Random, size: usize) -> String {
    let mut text = String::new();
    while text.len() < size {
        match random.below(8) {
            0 => {
                let run = 1 + random.below(3000) as usize;
                text.push_str(&["a", "\0", "é", "="][random.below(4) as usize].repeat(run));
            }
            1..=3 => text.extend((0..100).map(|_| random.below(256) as u8 as char)),
            _ => {
                let words = ["offer ", "<br>\n", "click ", "now! ", "account "];
                text.push_str(words[random.below(5) as usize]);
            }
        }
    }
    let cut = (0..=size).rev().find(|&n| text.is_char_boundary(n));
    text.truncate(cut.unwrap_or(0));
    text
}

#[test]
fn random_buffers() {
    let mut random = Random(2013);
    let mut sizes: Vec<usize> = (0..200).collect();
    sizes.extend((0..400).map(|_| random.below(4_000) as usize));
    sizes.extend((0..150).map(|_| random.below(200_001) as usize));
    sizes.push(200_000);
    let mut last: Option<Ctph> = None;
    for size in sizes {
        let text = random_text(&mut random, size);
        let cut = (0..=size / 20).rev().find(|&n| text.is_char_boundary(n));
        let (subject, body) = text.split_at(cut.unwrap_or(0));
        let digest = check_hash(subject, body);
        let half = check_hash(subject, &body.replace("offer", "deal"));
        check_pair(&digest, &half);
        if let Some(last) = last.replace(digest) {
            check_pair(&last, &digest);
        }
    }
    for size in [0, 1, 7, 64, 4096, 200_000] {
        check_hash("", &"a".repeat(size));
        check_hash("x", &"\0".repeat(size));
    }
}

/// Digests that no text need have: runs, small alphabets, all block sizes.
#[test]
fn random_digests() {
    let mut random = Random(1977);
    let mut block_hash = |most: u64| -> String {
        let letters = [b"ABC".as_slice(), b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"][random.below(2) as usize];
        let mut text = String::new();
        for _ in 0..random.below(most) {
            let letter = letters[random.below(letters.len() as u64) as usize] as char;
            let run = if random.below(9) == 0 { 6 } else { 1 };
            text.extend(std::iter::repeat_n(letter, run));
        }
        text.truncate(most as usize);
        text
    };
    let halves: Vec<(String, String)> =
        (0..300).map(|_| (block_hash(64), block_hash(32))).collect();
    for (place, (one, two)) in halves.iter().enumerate() {
        let log = place % 30;
        let (three, four) = &halves[(place * 7 + 1) % halves.len()];
        let parse = |log: usize, one: &str, two: &str| -> Ctph {
            format!("{}:{one}:{two}", 3u64 << log)
                .parse()
                .expect("a digest")
        };
        let digest = parse(log, one, two);
        // The same, kin in one half, and the half as a neighbour would have it.
        check_pair(&digest, &digest);
        check_pair(&digest, &parse(log, one, four));
        check_pair(&digest, &parse(log, three, two));
        check_pair(&digest, &parse(log + 1, two, four));
        check_pair(&digest, &parse(log, three, four));
    }
}

#[test]
fn known_values() {
    // `printf 'subjectbody' | md5sum`
    let id = fingerprint::id("subject", "body");
    assert_eq!(id, fingerprint::id("subj", "ectbody"));
    assert_eq!(id.to_string(), KNOWN_ID);
    assert_eq!(KNOWN_ID.to_uppercase().parse(), Ok(id));
    // Of one space: what stands between body and subject.
    assert_eq!(fingerprint::ctph("", "").to_string(), "3:F:F");
    for bad in [
        "",
        "3",
        "5:a:b",
        "3:a",
        "3:é:b",
        &"f".repeat(31),
        &"g".repeat(32),
    ] {
        assert!(bad.parse::<SpamId>().is_err(), "{bad}");
        assert!(bad.parse::<Ctph>().is_err(), "{bad}");
    }
}

const KNOWN_ID: &str = "231268328228ca339f1740fdf083970b";
