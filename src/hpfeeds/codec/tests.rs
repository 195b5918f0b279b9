//! Tests of the codec.

use proptest::prelude::*;

use super::*;

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

/// Calls `take` with each frame of a stream that comes in pieces of these sizes, over and over.
fn decode(
    stream: &[u8],
    sizes: &[usize],
    mut take: impl FnMut(Frame<'_>),
) -> Result<(), Malformed> {
    let mut decoder = Decoder::default();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        decoder.push(piece);
        while let Some(frame) = decoder.next()? {
            take(frame);
        }
        rest = later;
        assert!(decoder.buffer.len() <= HEADER + BODY_MAX + piece.len());
    }
    Ok(())
}

fn decoded(stream: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut frames = Vec::new();
    decode(stream, &[stream.len().max(1)], |frame| {
        frames.push(format!("{frame:?}"));
    })?;
    Ok(frames)
}

/// The bytes are those that `hpfeeds.protocol` of the Python package makes.
#[test]
fn frames_are_those_of_the_python_package() {
    let proof = digest(b"\x01\x02\x03\x04", "s3cret");
    let cases: [(Frame<'_>, &[u8]); 6] = [
        (Frame::Error("no".into()), b"\0\0\0\x07\0no"),
        (
            Frame::Info {
                broker: "hpfeeds".into(),
                nonce: b"\x01\x02\x03\x04",
            },
            b"\0\0\0\x11\x01\x07hpfeeds\x01\x02\x03\x04",
        ),
        (
            Frame::Auth {
                ident: "me".into(),
                digest: proof,
            },
            b"\0\0\0\x1c\x02\x02me\x14\xc8g\x80@+\x1b\xe5\xf2\xfcgd\xff*\xbcP\xcf\x83\xfb\x8f",
        ),
        (
            Frame::Publish {
                ident: "me".into(),
                channel: "shiva.raw".into(),
                payload: b"{}",
            },
            b"\0\0\0\x14\x03\x02me\x09shiva.raw{}",
        ),
        (
            Frame::Subscribe {
                ident: "me".into(),
                channel: "shiva.raw".into(),
            },
            b"\0\0\0\x11\x04\x02meshiva.raw",
        ),
        (
            Frame::Unsubscribe {
                ident: "me".into(),
                channel: "shiva.raw".into(),
            },
            b"\0\0\0\x11\x05\x02meshiva.raw",
        ),
    ];
    for (frame, bytes) in cases {
        assert_eq!(encoded(&frame), bytes, "{frame:?}");
        assert_eq!(decoded(bytes).unwrap(), [format!("{frame:?}")]);
    }
}

#[test]
fn a_payload_may_fill_the_body_and_no_more() {
    let publish = |payload| Frame::Publish {
        ident: "sensor".into(),
        channel: "shiva.raw".into(),
        payload,
    };
    let payload = vec![7; payload_max("sensor", "shiva.raw") + 1];
    let (_, most) = payload.split_last().unwrap();
    let bytes = encoded(&publish(most));
    assert_eq!(bytes.len(), HEADER + BODY_MAX);
    assert_eq!(decoded(&bytes).unwrap().len(), 1);
    let mut out = b"before".to_vec();
    let refused = publish(&payload).encode(&mut out).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a publication of 1048577 bytes; at most 1048576 are allowed"
    );
    assert_eq!(out, b"before");
    let long = "x".repeat(256);
    let frame = Frame::Subscribe {
        ident: long.into(),
        channel: "c".into(),
    };
    assert!(frame.encode(&mut out).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn a_stream_that_is_no_hpfeeds_is_refused_by_its_first_bytes() {
    let cases: [(&[u8], &str); 8] = [
        (b"SSH-2.0", "unknown kind 50"),
        (b"\0\x10\0\x06\x03", "of 1048582 bytes"),
        (b"\0\0\x01\x1a\x01", "of 282 bytes where 5 to 281"),
        (b"\xff\xff\xff\xff\x03", "of 4294967295 bytes"),
        (b"\0\0\0\x04\x03", "of 4 bytes"),
        (b"\0\0\0\x05\x03", "no string"),
        (b"\0\0\0\x07\x03\x02a", "over its end"),
        (b"\0\0\0\x07\x02\x00a", "no SHA-1 digest"),
    ];
    for (stream, why) in cases {
        let mut decoder = Decoder::default();
        decoder.push(stream);
        let first = decoder.next().unwrap_err();
        assert!(first.to_string().contains(why), "{stream:?}: {first}");
        decoder.push(b"\0\0\0\x05\0");
        assert_eq!(decoder.next().unwrap_err(), first);
    }
}

#[test]
fn a_stream_ends_between_frames_or_within_one() {
    let mut decoder = Decoder::default();
    assert!(decoder.is_empty());
    decoder.push(b"\0\0\0\x07\0no\0");
    assert!(!decoder.is_empty());
    assert!(decoder.next().unwrap().is_some());
    assert!(decoder.next().unwrap().is_none() && !decoder.is_empty());
    decoder.push(b"\0\0\x05\0");
    assert!(decoder.next().unwrap().is_some() && decoder.is_empty());
}

#[test]
fn names_that_are_not_utf8_stop_nobody() {
    let frames = decoded(b"\0\0\0\x0a\x03\x01\xff\x01cp\0\0\0\x06\0\xfe").unwrap();
    assert_eq!(frames.len(), 2);
    assert!(frames[0].contains('\u{fffd}') && frames[1].contains('\u{fffd}'));
}

/// A frame that owns what it is made of.
#[derive(Clone, Debug)]
struct Parts {
    operation: u8,
    names: (String, String),
    bytes: Vec<u8>,
    digest: Digest,
}

impl Parts {
    fn frame(&self) -> Frame<'_> {
        let name = Cow::from(self.names.0.as_str());
        let other = Cow::from(self.names.1.as_str());
        match self.operation {
            0 => Frame::Error(other),
            1 => Frame::Info {
                broker: name,
                nonce: self.bytes.get(..20).unwrap_or(&self.bytes),
            },
            2 => Frame::Auth {
                ident: name,
                digest: self.digest,
            },
            3 => Frame::Publish {
                ident: name,
                channel: other,
                payload: &self.bytes,
            },
            4 => Frame::Subscribe {
                ident: name,
                channel: other,
            },
            _ => Frame::Unsubscribe {
                ident: name,
                channel: other,
            },
        }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    (0u8..6, ".{0,60}", ".{0,60}", bytes, any::<Digest>()).prop_map(
        |(operation, one, two, bytes, digest)| Parts {
            operation,
            names: (one, two),
            bytes,
            digest,
        },
    )
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_any_pieces(
        all in prop::collection::vec(parts(), 0..20),
        sizes in prop::collection::vec(1usize..200, 1..8),
    ) {
        let stream: Vec<u8> = all.iter().flat_map(|one| encoded(&one.frame())).collect();
        let mut at = 0;
        decode(&stream, &sizes, |frame| {
            assert_eq!(frame, all[at].frame());
            at += 1;
        }).unwrap();
        prop_assert_eq!(at, all.len());
    }

    #[test]
    fn any_bytes_are_frames_or_malformed_and_pieces_do_not_matter(
        head in prop::option::of(parts()),
        length in 0u32..40,
        operation in 0u8..7,
        noise in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(1usize..30, 1..8),
    ) {
        let mut stream = head.map_or_else(Vec::new, |one| encoded(&one.frame()));
        stream.extend_from_slice(&length.to_be_bytes());
        stream.push(operation);
        stream.extend_from_slice(&noise);
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        let one = decode(&stream, &[stream.len()], |frame| whole.push(format!("{frame:?}")));
        let many = decode(&stream, &sizes, |frame| pieces.push(format!("{frame:?}")));
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(one, many);
    }
}
