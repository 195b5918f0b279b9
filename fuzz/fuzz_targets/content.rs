//! The reader of message content, against the rule as plainly as it can be said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shiva::smtp::data::{DataReader, Event};
use shiva_fuzz::input::Choices;

fuzz_target!(|data: &[u8]| {
    let (choices, stream) = Choices::split(data);
    let expected = by_the_rule(stream);
    assert_eq!(read(std::iter::once(stream)), expected);
    assert_eq!(read(choices.pieces(stream)), expected);
    assert_eq!(read(stream.chunks(1)), expected);

    // What is sent as RFC 5321 §4.5.2 asks for arrives, and what follows it is not content.
    let mut sent = stuffed(stream);
    sent.extend_from_slice(b".\r\nQUIT\r\n");
    let (content, rest) = read(choices.pieces(&sent));
    assert_eq!(content, ended(stream));
    assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]));
});

/// Content, and what stands behind the end of data if that came.
type Reading = (Vec<u8>, Option<Vec<u8>>);

fn read<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Reading {
    let mut reader = DataReader::new();
    let mut content = Vec::new();
    let mut rest: Option<Vec<u8>> = None;
    for piece in pieces {
        if let Some(rest) = &mut rest {
            rest.extend_from_slice(piece);
            continue;
        }
        let mut input = piece;
        loop {
            let (used, event) = reader.next(input);
            input = &input[used..];
            match event {
                Event::Content(bytes) => {
                    assert!(!bytes.is_empty());
                    content.extend_from_slice(bytes);
                }
                Event::More => {
                    assert!(input.is_empty(), "more is wanted, and there is some");
                    break;
                }
                Event::End => {
                    rest = Some(input.to_vec());
                    break;
                }
            }
        }
    }
    (content, rest)
}

/// The stream begins as if behind CRLF. It ends at the first CRLF `.` CRLF; before that a dot
/// behind CRLF is dropped.
fn by_the_rule(stream: &[u8]) -> Reading {
    let stream = [b"\r\n", stream].concat();
    let end = find(&stream, b"\r\n.\r\n");
    let rest = end.map(|end| stream[end + 5..].to_vec());
    let mut lines = match end {
        Some(end) => &stream[..end + 2],
        // What may yet become the end of data, or a dot that is dropped, waits.
        None => ["\r\n.\r", "\r\n."]
            .iter()
            .find(|tail| stream.ends_with(tail.as_bytes()))
            .map_or(&stream[..], |tail| &stream[..stream.len() - tail.len() + 2]),
    };
    let mut content = Vec::new();
    while let Some(dot) = find(lines, b"\r\n.") {
        content.extend_from_slice(&lines[..dot + 2]);
        lines = &lines[dot + 3..];
    }
    content.extend_from_slice(lines);
    (content.split_off(2), rest)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Content with its last line ended.
fn ended(content: &[u8]) -> Vec<u8> {
    match content {
        [] | [.., b'\r', b'\n'] => content.to_vec(),
        _ => [content, b"\r\n"].concat(),
    }
}

/// A dot before each dot that begins a line.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let content = ended(content);
    let mut sent = Vec::new();
    for (at, byte) in content.iter().enumerate() {
        if *byte == b'.' && (at == 0 || content[..at].ends_with(b"\r\n")) {
            sent.push(b'.');
        }
        sent.push(*byte);
    }
    sent
}
