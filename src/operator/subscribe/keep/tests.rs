use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn message() -> Message {
    Message {
        ident: "sensor\n".into(),
        channel: "shiva.raw".into(),
        payload: Vec::new(),
    }
}

fn file(name: &str, content: Content) -> File {
    File {
        id: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        name: name.into(),
        ip: String::new(),
        changed: false,
        content,
    }
}

fn whole(name: &str) -> File {
    file(name, Content::Whole(b"content".to_vec()))
}

fn kept(keeper: &mut Keeper) -> Result<(), NotKept> {
    keeper.keep(&message(), Kind::Sample, &whole("x"))?;
    keeper.settle()
}

/// SHA-256 of `content`.
const HASH: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

#[test]
fn names_are_hashes_whatever_a_stranger_calls_it() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("made/dir");
    let mut keeper = Keeper::open(&root).unwrap();
    for name in [
        "../../x",
        "/etc/passwd",
        "a\0b\n",
        "",
        "x".repeat(100_000).as_str(),
    ] {
        keeper.keep(&message(), Kind::Sample, &whole(name)).unwrap();
        keeper
            .keep(&message(), Kind::Attachment, &whole(name))
            .unwrap();
    }
    let large = file("large", Content::Oversize(5_000_000));
    keeper.keep(&message(), Kind::Sample, &large).unwrap();
    keeper.settle().unwrap();
    let sample = root.join(format!("spam/ed/{HASH}.eml"));
    let attachment = root.join(format!("attachments/ed/{HASH}"));
    for path in [&sample, &attachment] {
        assert_eq!(fs::read(path).unwrap(), b"content");
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            KEPT
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
    let index = fs::read_to_string(root.join(INDEX_NAME)).unwrap();
    let lines: Vec<serde_json::Value> = index
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 11);
    assert_eq!(lines[0]["name"], "../../x");
    assert_eq!(lines[0]["ident"], "sensor\n");
    assert_eq!(lines[0]["file"], format!("spam/ed/{HASH}.eml"));
    assert_eq!(lines[10]["file"], serde_json::Value::Null);
    assert_eq!(lines[10]["size"], 5_000_000);
}

#[test]
fn what_is_there_is_kept_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(scratch.path()).unwrap();
    let path = scratch.path().join(format!("spam/ed/{HASH}.eml"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine").unwrap();
    kept(&mut keeper).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn no_link_leads_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, outside) = (scratch.path().join("dir"), scratch.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    let mut keeper = Keeper::open(&root).unwrap();
    let shelf = root.join("spam/ed");
    let refused = |keeper: &mut Keeper| {
        assert_eq!(kept(keeper).unwrap_err().files, 1);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    };
    symlink(&outside, &shelf).unwrap();
    refused(&mut keeper);
    fs::remove_file(&shelf).unwrap();
    fs::create_dir(&shelf).unwrap();
    symlink(outside.join("x"), shelf.join(format!("{HASH}.eml"))).unwrap();
    refused(&mut keeper);
    fs::remove_dir_all(root.join("spam")).unwrap();
    symlink(&outside, root.join("spam")).unwrap();
    refused(&mut keeper);
    assert!(Keeper::open(&root).is_err());
    fs::remove_file(root.join("spam")).unwrap();
    fs::remove_file(root.join(INDEX_NAME)).unwrap();
    symlink(outside.join("x"), root.join(INDEX_NAME)).unwrap();
    refused(&mut keeper);
    fs::remove_file(root.join(INDEX_NAME)).unwrap();
    kept(&mut keeper).unwrap();
}

#[test]
fn a_torn_line_of_the_index_is_ended_before_the_next() {
    let scratch = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(scratch.path()).unwrap();
    fs::write(scratch.path().join(INDEX_NAME), "{\"torn").unwrap();
    keeper.torn = true;
    kept(&mut keeper).unwrap();
    let index = fs::read_to_string(scratch.path().join(INDEX_NAME)).unwrap();
    let lines: Vec<_> = index.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"torn"));
    assert!(lines[1].starts_with("{\"received_at\""));
}

#[test]
fn many_files_are_settled_together_and_given_up_together() {
    let scratch = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(scratch.path()).unwrap();
    let numbered = |n: usize| file("x", Content::Whole(n.to_string().into_bytes()));
    let lines = || {
        fs::read_to_string(scratch.path().join(INDEX_NAME))
            .unwrap()
            .lines()
            .count()
    };
    for n in 0..TOGETHER + 5 {
        keeper.keep(&message(), Kind::Sample, &numbered(n)).unwrap();
    }
    assert_eq!(lines(), TOGETHER);
    // The directory goes away under the five that were not settled.
    fs::remove_dir_all(scratch.path().join("spam")).unwrap();
    assert_eq!(keeper.settle().unwrap_err().files, 5);
    assert_eq!(lines(), TOGETHER);
    keeper.keep(&message(), Kind::Sample, &numbered(0)).unwrap();
    keeper.settle().unwrap();
    assert_eq!(lines(), TOGETHER + 1);
    // Nothing temporary is left.
    let shelves = fs::read_dir(scratch.path().join("spam")).unwrap();
    let files = shelves.map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap().count());
    assert_eq!(files.sum::<usize>(), 1);
}
