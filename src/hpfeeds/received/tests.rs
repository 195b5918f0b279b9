use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::hpfeeds::payload::{self, Sample};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn spam() -> ParsedSpam {
    ParsedSpam {
        id: ID.into(),
        subject: "é".into(),
        count: 3,
        first_seen: "2026-11-21T21:07:55Z".into(),
        last_seen: "2026-11-22T00:00:01Z".into(),
        ips: vec!["192.0.2.1".into()],
        links: vec!["http://example.net/".into()],
        attachments: vec![ParsedAttachment {
            sha256: "0f".repeat(32),
            ..ParsedAttachment::default()
        }],
        ..ParsedSpam::default()
    }
}

fn refused(channel: &str, payload: &Value) -> String {
    match read(channel, payload.to_string().as_bytes()) {
        Err(Refused::Unfit(what)) => what,
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn what_we_publish_is_what_is_received() {
    let received = |payload: payload::Payload| read(payload.channel, &payload.json).unwrap();
    let record = received(payload::parsed(&spam(), 1 << 20));
    assert_eq!(record, Received::Record(Box::new(spam())));
    let told: Vec<_> = payload::links_and_addresses(&spam())
        .map(received)
        .collect();
    let id = ID.parse().unwrap();
    let (url, source_ip) = ("http://example.net/".into(), "192.0.2.1".into());
    assert_eq!(
        told,
        [
            Received::Link { id, url },
            Received::Address { id, source_ip }
        ]
    );
    let file = |content| File {
        id,
        name: "a".into(),
        ip: String::new(),
        changed: true,
        content,
    };
    let bytes = vec![0, 255, 10];
    let attached = received(payload::attachment(ID, "a", &bytes, true, 1000));
    assert_eq!(attached, Received::Attachment(file(Content::Whole(bytes))));
    let large = Sample {
        id: ID,
        name: "a",
        ip: "",
        message: &[0; 1000],
        changed: true,
    };
    let announced = received(payload::raw(&large, 1000));
    assert_eq!(announced, Received::Sample(file(Content::Oversize(1000))));
}

#[test]
fn cut_records_and_keys_of_later_versions_are_taken() {
    let mut long = spam();
    long.text = "x".repeat(100_000);
    let cut = payload::parsed(&long, 50_000);
    let Received::Record(record) = read(cut.channel, &cut.json).unwrap() else {
        panic!("no record");
    };
    assert!(record.truncated);
    let later = json!({"id": ID, "url": "http://example.net/", "seen": {"in": [2030]}});
    assert!(read(IP_URL, later.to_string().as_bytes()).is_ok());
}

#[test]
fn pickles_are_known_on_every_channel_and_read_on_none() {
    // {'s_id': 'x'} in protocols 0, 1 and 2 of Python's pickle, and the start of a newer one.
    let pickles: [&[u8]; 5] = [
        b"(dp0\nS's_id'\np1\nS'x'\np2\ns.",
        b"}q\x00U\x04s_idq\x01U\x01xq\x02s.",
        b"\x80\x02}q\x00U\x04s_idq\x01U\x01xq\x02s.",
        b"\x80\x04\x95",
        b"ccopy_reg\n_reconstructor\n",
    ];
    for channel in [PARSED, IP_URL, RAW, ATTACHMENTS, "x"] {
        for pickle in pickles {
            assert_eq!(read(channel, pickle), Err(Refused::Pickle), "{pickle:?}");
        }
    }
}

#[test]
fn a_record_that_no_shiva_makes_is_refused() {
    let with = |key: &str, value: Value| {
        let mut record = serde_json::to_value(spam()).unwrap();
        record[key] = value;
        refused(PARSED, &record)
    };
    for id in [
        "",
        "../../../../etc/passwd",
        &ID[1..],
        "é".repeat(16).as_str(),
    ] {
        assert!(with("id", id.into()).contains("id"), "{id}");
    }
    assert!(with("count", 0.into()).contains("count"));
    assert!(with("count", (NUMBER_MAX + 1).into()).contains("count"));
    assert!(with("count", json!(-1)).contains("invalid"));
    assert!(with("length", u64::MAX.into()).contains("length"));
    assert!(with("ssdeep", "3:x".into()).contains("ssdeep"));
    assert!(with("first_seen", "2026-11-23T00:00:00Z".into()).contains("before"));
    assert!(with("last_seen", "yesterday".into()).contains("no time"));
    assert!(with("first_seen", "0001-01-01T00:00:00Z".into()).contains("no time"));
    assert!(with("subject", json!(["x"])).contains("invalid"));
    let hash = json!([{"sha256": "../x"}]);
    assert!(with("attachments", hash).contains("sha256"));
    let size = json!([{"size": u64::MAX}]);
    assert!(with("attachments", size).contains("size"));
}

#[test]
fn a_file_has_one_content_in_strict_base64() {
    let raw = |more: Value| {
        let mut raw = json!({"s_id": ID, "name": "x"});
        raw.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        raw
    };
    for base64 in ["YQ", "YQ=", "YR==", "Y Q=", "YQ==\n", "-_==", "YQ==YQ=="] {
        let what = refused(RAW, &raw(json!({"spamfile": base64})));
        assert!(what.contains("base64"), "{base64}: {what}");
    }
    let neither = [
        json!({}),
        json!({"oversize": true}),
        json!({"size": 5}),
        json!({"spamfile": "YQ==", "oversize": true, "size": 1}),
        json!({"oversize": true, "size": u64::MAX}),
    ];
    for more in neither {
        assert!(
            refused(RAW, &raw(more.clone())).contains("neither"),
            "{more}"
        );
    }
    let twice = format!(r#"{{"s_id":"{ID}","spamfile":"YQ==","attachment":"YQ=="}}"#);
    assert!(read(RAW, twice.as_bytes()).is_err());
}

#[test]
fn depth_does_not_overflow_the_stack() {
    for channel in [PARSED, IP_URL, RAW, ATTACHMENTS, "x"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            assert!(read(channel, deep.as_bytes()).is_err());
            let within = format!("{{\"id\":\"{ID}\",\"url\":\"\",\"x\":{deep}}}");
            let _ = read(channel, within.as_bytes());
        }
    }
}

/// JSON that resembles a payload.
fn resembling() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(Value::from(ID)),
        Just(Value::from("YQ==")),
        Just(Value::from("2026-11-21T21:07:55Z")),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        let keys = "id|name|type|size|md5|sha256|inline";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..4).prop_map(|map| json!(map)),
        ]
    });
    let keys = "id|s_id|url|source_ip|name|ip|spamfile|attachment|changed|oversize|size|subject|\
                count|length|ssdeep|first_seen|last_seen|links|attachments|truncated";
    prop::collection::hash_map(keys, value, 0..12).prop_map(|map| json!(map))
}

proptest! {
    #[test]
    fn no_payload_panics(
        channel in prop::sample::select(vec![PARSED, IP_URL, RAW, ATTACHMENTS, "x"]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        value in resembling(),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = read(channel, &bytes);
        let text = value.to_string();
        let _ = read(channel, text.as_bytes());
        let _ = read(channel, &text.as_bytes()[..cut.index(text.len())]);
    }

    #[test]
    fn whatever_stands_for_one_value_what_is_taken_is_in_order(
        key in "id|subject|count|length|ssdeep|first_seen|last_seen|links|attachments|relayed",
        value in resembling(),
    ) {
        let mut payload = serde_json::to_value(spam()).unwrap();
        payload[key.as_str()] = value[key.as_str()].clone();
        match read(PARSED, payload.to_string().as_bytes()) {
            Ok(Received::Record(record)) => {
                prop_assert!(record.id.parse::<SpamId>().is_ok());
                prop_assert!((1..=NUMBER_MAX).contains(&record.count));
            }
            Err(Refused::Unfit(_)) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
