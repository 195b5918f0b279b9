//! Records that others published, in the main store of each engine.

use std::collections::BTreeMap;

use shiva::correlation::Correlation;
use shiva::correlation::gathering::{Gathering, Published};
use shiva::fingerprint;
use shiva::hpfeeds::payload;
use shiva::parsed::{ParsedAttachment, ParsedSpam};
use shiva::sameness::Rule;
use shiva::store::mysql::Mysql;
use shiva::store::{Batch, Day, Delta, Engine, Find, Known, NewRecord, Sets, Spam, StoreErrorKind};

use crate::mariadb::{Databases, MariaDb};
use crate::store_suite::{at, create, on_each_engine};

/// A spam of a campaign, as a sensor saw it so often. `n` varies a little of its body.
fn seen(sensor: &str, n: u32, count: u64) -> ParsedSpam {
    let lines = (0..60).map(|line| format!("Line {line} of a campaign, {}\n", line * 7919 % 1000));
    let text = lines.collect::<String>() + &format!("Yours, {n}\n");
    let subject = "A campaign";
    let fingerprint = fingerprint::Fingerprint::of(subject, &text, true);
    ParsedSpam {
        id: fingerprint.id.to_string(),
        ssdeep: fingerprint.ssdeep.to_string(),
        length: fingerprint.length,
        subject: subject.into(),
        text,
        count,
        first_seen: "2023-11-14T22:13:20Z".into(),
        last_seen: "2023-11-15T01:00:00Z".into(),
        sensors: vec![sensor.into()],
        ips: vec!["192.0.2.1".into(), format!("192.0.2.{}", 100 + n)],
        to: vec!["p-aaaaaaaaaaaaaaaa@recipient.invalid".into()],
        links: vec!["http://example.net/\u{1f600}'".into()],
        users: vec![],
        attachments: vec![ParsedAttachment {
            name: "../x.zip".into(),
            sha256: "0f".repeat(32),
            md5: "0f".repeat(16),
            size: 5,
            ..ParsedAttachment::default()
        }],
        relayed: 3,
        ..ParsedSpam::default()
    }
}

fn published(parsed: &ParsedSpam) -> Published {
    let payload = payload::parsed(parsed, 1 << 20);
    Published::new(&payload.json, parsed).unwrap()
}

fn gathering(engine: &dyn Engine) -> Gathering {
    Gathering::new(Rule::default(), engine.main().unwrap())
}

/// The only record there is.
fn only(engine: &dyn Engine) -> Spam {
    let mut reader = engine.reader().unwrap();
    let top = reader.top(5).unwrap();
    assert_eq!(top.len(), 1, "{top:?}");
    match reader.find(&top[0].id).unwrap() {
        Find::One(spam) => *spam,
        other => panic!("{other:?}"),
    }
}

fn check_both(engine: &dyn Engine) {
    let spam = only(engine);
    assert_eq!(spam.count, 12);
    assert_eq!(spam.record.known.id, seen("one", 1, 5).id);
    assert_eq!(spam.sets.sensors, ["one", "two"]);
    assert_eq!(spam.sets.ips, ["192.0.2.1", "192.0.2.101", "192.0.2.102"]);
    assert_eq!((spam.sets.links.len(), spam.sets.recipients.len()), (1, 1));
    assert_eq!(
        (spam.sets.parts.len(), spam.sets.parts[0].path.as_str()),
        (1, "")
    );
    assert_eq!(spam.first_seen.rfc3339_seconds(), "2023-11-14T22:13:20Z");
    assert_eq!(spam.last_seen.rfc3339_seconds(), "2023-11-15T01:00:00Z");
    assert_eq!((spam.relayed, spam.record.sample.as_str()), (0, ""));
    let totals = engine.reader().unwrap().totals().unwrap();
    assert_eq!((totals.spams, totals.distinct, totals.relayed), (12, 1, 0));
}

#[test]
fn what_two_sensors_saw_of_a_campaign_is_one_record() {
    let (one, two) = (seen("one", 1, 5), seen("two", 2, 7));
    assert_ne!(one.id, two.id);
    on_each_engine(|engine| {
        let mut gathering = gathering(engine);
        let together = [published(&one), published(&two)];
        assert_eq!(gathering.take_in(&together).unwrap(), 2);
        check_both(engine);
    });
    on_each_engine(|engine| {
        for parsed in [&one, &two] {
            assert_eq!(gathering(engine).take_in(&[published(parsed)]).unwrap(), 1);
        }
        check_both(engine);
    });
    on_each_engine(|engine| {
        let mut gathering = gathering(engine);
        for parsed in [&one, &two] {
            assert_eq!(gathering.take_in(&[published(parsed)]).unwrap(), 1);
        }
        check_both(engine);
    });
}

#[test]
fn a_payload_counts_once_however_often_it_comes() {
    let (one, two) = (seen("one", 1, 5), seen("two", 2, 7));
    on_each_engine(|engine| {
        let mut first = gathering(engine);
        let twice = [published(&one), published(&one)];
        assert_eq!(first.take_in(&twice).unwrap(), 1);
        let again = [published(&one), published(&two), published(&two)];
        assert_eq!(first.take_in(&again).unwrap(), 1);
        assert_eq!(gathering(engine).take_in(&again).unwrap(), 0);
        check_both(engine);
        // The same count of another window is another payload.
        let mut next = two.clone();
        next.last_seen = "2023-11-15T02:00:00Z".into();
        assert_eq!(gathering(engine).take_in(&[published(&next)]).unwrap(), 1);
        assert_eq!(only(engine).count, 19);
    });
}

#[test]
fn a_window_of_ones_own_adds_to_what_was_gathered_and_gives_it_a_sample() {
    on_each_engine(|engine| {
        let gathered = seen("one", 1, 5);
        gathering(engine).take_in(&[published(&gathered)]).unwrap();
        let own = seen("here", 2, 1);
        let record = NewRecord {
            known: Known {
                id: own.id.clone(),
                ssdeep: own.ssdeep.clone(),
                length: own.length,
                body_chars: own.text.len() as u64,
                has_text: true,
            },
            from: String::new(),
            subject: own.subject.clone(),
            text: own.text.clone(),
            html: String::new(),
            headers: String::new(),
            sample: "/samples/own".into(),
        };
        let delta = Delta {
            new: Some(Box::new(record)),
            id: own.id.clone(),
            days: BTreeMap::from([(at(0).day(), Day::once(at(0)))]),
            sets: Sets {
                sensors: own.sensors.clone(),
                ..Sets::default()
            },
        };
        let batch = Batch {
            window: 1,
            deltas: BTreeMap::from([(0, delta)]),
            ..Batch::default()
        };
        let mut windows = engine.windows().unwrap();
        windows.commit(&batch).unwrap();
        windows.close_window(at(3600)).unwrap();
        let main = engine.main().unwrap();
        let mut correlation = Correlation::new(Rule::default(), windows, main);
        assert_eq!(correlation.take_in_waiting().unwrap(), 1);
        let spam = only(engine);
        assert_eq!((spam.count, spam.record.known.id), (6, gathered.id));
        assert_eq!(spam.record.sample, "/samples/own");
        assert_eq!(spam.sets.sensors, ["here", "one"]);
        // The first sample stays.
        gathering(engine)
            .take_in(&[published(&seen("two", 3, 1))])
            .unwrap();
        assert_eq!(only(engine).record.sample, "/samples/own");
    });
}

#[test]
fn all_of_them_go_in_or_none() {
    let databases = Databases::fresh(MariaDb::shared());
    let engine = Mysql::new(databases.options());
    create(&engine);
    let mut refused = published(&seen("two", 2, 7));
    refused.record.record.known.id = "longer than an id can be".repeat(2);
    let whole = || published(&seen("one", 1, 5));
    let mut gathering = gathering(&engine);
    let error = gathering.take_in(&[whole(), refused]).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
    assert_eq!(engine.reader().unwrap().totals().unwrap().spams, 0);
    assert_eq!(gathering.take_in(&[whole()]).unwrap(), 1);
    assert_eq!(only(&engine).count, 5);
}
