use super::*;
use crate::store::{Day, Known, NewRecord, Sets, TakenRecord};
use crate::timestamp::Timestamp;

struct Rig {
    scratch: tempfile::TempDir,
    outbox: Outbox,
}

impl Rig {
    fn new(most: u64) -> Rig {
        let scratch = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&scratch.path().join("outbox"), most).unwrap();
        Rig { scratch, outbox }
    }

    /// A record with a sample of 1000 bytes.
    fn record(&self, n: u8) -> TakenRecord {
        let sample = self.scratch.path().join(format!("{n}.eml"));
        fs::write(&sample, [n; 1000]).unwrap();
        TakenRecord {
            record: NewRecord {
                known: Known {
                    id: format!("{n:032x}"),
                    ssdeep: String::new(),
                    length: 1,
                    body_chars: 1,
                    has_text: true,
                },
                from: String::new(),
                subject: format!("subject {n}"),
                text: String::new(),
                html: String::new(),
                headers: String::new(),
                sample: sample.to_string_lossy().into_owned(),
            },
            count: 2,
            days: vec![Day::once(Timestamp::from_seconds(1_700_000_000, 0))],
            sets: Sets::default(),
            relays: Vec::new(),
        }
    }

    fn put(&self, name: &str, records: &[u8]) {
        let mut writer = self.outbox.begin(name).unwrap();
        for n in records {
            writer.add(&self.record(*n)).unwrap();
        }
        writer.finish().unwrap();
        self.outbox.release(name).unwrap();
    }

    /// What waits next: name, stage, and the subjects still to be published.
    fn next(&self) -> Option<(String, Stage, Vec<String>)> {
        let waiting = self.outbox.next().unwrap()?;
        let mut reader = self.outbox.read(&waiting).unwrap();
        let mut subjects = Vec::new();
        while let Some((entry, _)) = reader.entry().unwrap() {
            subjects.push(entry.parsed.subject);
        }
        Some((waiting.name.clone(), waiting.stage, subjects))
    }

    fn done(&self) {
        let waiting = self.outbox.next().unwrap().unwrap();
        self.outbox.done(&waiting).unwrap();
    }
}

#[test]
fn records_go_before_samples_and_the_oldest_first() {
    let rig = Rig::new(u64::MAX);
    rig.put("1", &[1, 2]);
    rig.put("2", &[3]);
    let subjects = |of: &[u8]| of.iter().map(|n| format!("subject {n}")).collect();
    let expect = |name: &str, stage, of| Some((name.to_owned(), stage, subjects(of)));
    for expected in [
        expect("1", Stage::Parsed, &[1, 2]),
        expect("2", Stage::Parsed, &[3]),
        expect("1", Stage::Raw, &[1, 2]),
        expect("2", Stage::Raw, &[3]),
    ] {
        assert_eq!(rig.next(), expected);
        rig.done();
    }
    assert_eq!(rig.next(), None);
    assert_eq!(fs::read_dir(&rig.outbox.root).unwrap().count(), 0);
}

#[test]
fn what_is_not_in_the_main_store_does_not_wait() {
    let rig = Rig::new(u64::MAX);
    let mut writer = rig.outbox.begin("1").unwrap();
    writer.add(&rig.record(1)).unwrap();
    writer.finish().unwrap();
    assert_eq!(rig.next(), None);
    // Repeated after a crash it is the same.
    let mut writer = rig.outbox.begin("1").unwrap();
    writer.add(&rig.record(1)).unwrap();
    writer.finish().unwrap();
    for _ in 0..2 {
        rig.outbox.release("1").unwrap();
    }
    assert_eq!(rig.next().unwrap().2, ["subject 1"]);
}

#[test]
fn what_is_published_is_not_read_again() {
    let rig = Rig::new(u64::MAX);
    rig.put("1", &[1, 2, 3]);
    let waiting = rig.outbox.next().unwrap().unwrap();
    let mut reader = rig.outbox.read(&waiting).unwrap();
    reader.entry().unwrap();
    let (_, at) = reader.entry().unwrap().unwrap();
    rig.outbox.advance(&waiting, at).unwrap();
    assert_eq!(rig.next().unwrap().2, ["subject 3"]);
    rig.done();
    // The samples are read from the beginning.
    assert_eq!(rig.next().unwrap().2.len(), 3);
}

#[test]
fn a_sample_outlives_the_one_in_the_archive() {
    let rig = Rig::new(u64::MAX);
    rig.put("1", &[7]);
    fs::remove_file(rig.scratch.path().join("7.eml")).unwrap();
    let waiting = rig.outbox.next().unwrap().unwrap();
    let (entry, _) = rig.outbox.read(&waiting).unwrap().entry().unwrap().unwrap();
    let sample = rig.outbox.sample(&waiting, &entry).unwrap();
    assert_eq!(sample, Some(vec![7; 1000]));
}

#[test]
fn over_the_bound_the_oldest_samples_go_and_are_counted() {
    let mut rig = Rig::new(u64::MAX);
    rig.put("1", &[1, 2]);
    rig.put("2", &[3, 4]);
    assert_eq!(rig.outbox.make_room().unwrap(), Dropped::default());
    let records = room::size(&rig.outbox.path("1", "parsed")).unwrap();
    // Room for the records of both and for one sample.
    rig.outbox.most = 2 * records + 1500;
    assert_eq!(
        rig.outbox.make_room().unwrap(),
        Dropped { raw: 3, parsed: 0 }
    );
    assert_eq!(rig.outbox.make_room().unwrap(), Dropped::default());
    let first = rig.outbox.next().unwrap().unwrap();
    let (entry, _) = rig.outbox.read(&first).unwrap().entry().unwrap().unwrap();
    assert_eq!(rig.outbox.sample(&first, &entry).unwrap(), None);
    // Room for the records of one.
    rig.outbox.most = records + 100;
    assert_eq!(
        rig.outbox.make_room().unwrap(),
        Dropped { raw: 1, parsed: 2 }
    );
    assert_eq!(rig.next().unwrap().0, "2");
    assert_eq!(rig.outbox.dropped(), Dropped { raw: 4, parsed: 2 });
}
