//! Promise 5: a stranger's bytes are data, all the way to the stores and the disk.

use std::fs;

use crate::rig::{Rig, files_under};

/// The hostile messages, by name.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let mut deep = b"Subject: deep\r\n".to_vec();
    for n in 0..100_000 {
        deep.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n").as_bytes(),
        );
    }
    let mut long_header = b"Subject: long\r\nX-Long: ".to_vec();
    long_header.resize(10 << 20, b'x');
    long_header.extend_from_slice(b"\r\n\r\nbody\r\n");
    let mut crowd = b"Subject: crowd\r\nTo: ".to_vec();
    for n in 0..1_000_000 {
        crowd.extend_from_slice(format!("u{n}@example.net,\r\n ").as_bytes());
    }
    crowd.extend_from_slice(b"\r\n\r\nbody\r\n");
    let escaping = "Subject: \x1b[2J\r\nContent-Type: application/x-sh; name=x\r\n\
        Content-Disposition: attachment; filename=\"../../../../../../etc/cron.d/x\"\r\n\r\nrm\r\n";
    let hollow = "Subject: hollow\r\nContent-Type: application/zip\r\nContent-Disposition: \
        attachment; filename=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n====\r\n";
    vec![
        ("empty", Vec::new()),
        (
            "nul",
            b"Subject: a\0b\r\n\r\nbo\0dy http://example.net/\0x\r\n".to_vec(),
        ),
        ("deep", deep),
        ("long-header", long_header),
        ("crowd", crowd),
        ("escaping", escaping.into()),
        ("hollow", hollow.into()),
        ("no-header", b"hello\r\n".to_vec()),
        (
            "sql",
            b"Subject: '); DROP TABLE spam; --\r\n\r\n'\"\\\r\n".to_vec(),
        ),
        ("binary", (0..=255u8).cycle().take(100_000).collect()),
    ]
}

#[test]
fn each_is_counted_and_none_escapes() {
    let rig = Rig::new();
    let messages = messages();
    for (name, message) in &messages {
        rig.drop_file(name, message);
    }
    rig.once();
    let report = rig.report();
    let totals = &report["totals"];
    let counted = totals["spams"].as_u64().unwrap() + totals["undeliverable"].as_u64().unwrap();
    assert_eq!(counted, messages.len() as u64);
    assert_eq!(totals["undeliverable"], 2, "the empty one and the deep one");
    assert_eq!(report["queue"], 0);
    // Set aside byte for byte.
    let aside = files_under(&rig.path("undeliverable"));
    let sizes: Vec<u64> = aside
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| fs::metadata(path).unwrap().len())
        .collect();
    let deep = messages
        .iter()
        .find(|(name, _)| *name == "deep")
        .unwrap()
        .1
        .len() as u64;
    assert!(sizes.contains(&deep) && sizes.contains(&0), "{sizes:?}");
    // Every file lies where its kind belongs, under a name of ours.
    for path in files_under(&rig.path("attachment")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}"
        );
    }
    assert_eq!(files_under(&rig.path("attachment")).len(), 2);
    // What a person sees holds no control character.
    let shown = rig.ok("shiva", &["report"]);
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "{shown}"
    );
    for top in report["top"].as_array().unwrap() {
        let shown = rig.ok("shiva", &["show", top["id"].as_str().unwrap()]);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
    }
}

#[test]
fn a_file_that_is_no_message_file_is_left_alone() {
    let rig = Rig::new();
    rig.drop_file("real.eml", b"Subject: x\r\n\r\nx\r\n");
    let new = rig.path("queue/new");
    std::os::unix::fs::symlink("/etc/passwd", new.join("link")).unwrap();
    fs::write(new.join(".hidden"), "x").unwrap();
    fs::create_dir(new.join("directory")).unwrap();
    rig.once();
    assert_eq!(rig.total("spams"), 1);
    assert_eq!(fs::read_dir(&new).unwrap().count(), 3);
}

#[test]
fn an_unreadable_message_is_set_aside_however_long_its_name() {
    let rig = Rig::new();
    rig.receiver().stop();
    let start = format!("1374000000.M1P9Q3-203.0.113.9-{}-", "s".repeat(110));
    let name = format!("{start}{}", "u".repeat(255 - start.len()));
    let partial = rig.path("queue/tmp/partial");
    fs::write(&partial, "").unwrap();
    fs::rename(partial, rig.path("queue/new").join(name)).unwrap();
    rig.once();
    assert_eq!(rig.total("undeliverable"), 1);
    let kept = files_under(&rig.path("undeliverable"));
    assert_eq!(kept.len(), 2, "{kept:?}");
}
