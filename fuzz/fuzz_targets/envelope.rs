//! The envelope line: what is read from any file, and what is written of any envelope.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use shiva::envelope::{Envelope, imported, may_begin, split};
use shiva::timestamp::Timestamp;

fuzz_target!(|data: &[u8]| {
    let (read, message) = split(data);
    match read {
        Some(envelope) => {
            let line = &data[..data.len() - message.len()];
            assert!(line.ends_with(b"\n") && data.ends_with(message));
            for end in 0..=line.len() {
                assert!(may_begin(&line[..end]), "{end} bytes of an envelope line");
            }
            travels(&envelope, message);
            is_imported(line, &envelope);
        }
        None => {
            assert_eq!(message, data);
            assert_eq!(*imported(data), *data, "changed, and no envelope");
        }
    }
    travels(&made_of(data), data);
});

/// It is written as one line of ASCII and read as it was, whatever follows.
fn travels(envelope: &Envelope, message: &[u8]) {
    let mut file = envelope.header_line();
    assert!(file.is_ascii() && file.ends_with(b"\r\n"));
    let ends = file.iter().filter(|&&byte| matches!(byte, b'\r' | b'\n'));
    assert_eq!(ends.count(), 2);
    file.extend_from_slice(message);
    assert_eq!(split(&file), (Some(envelope.clone()), message));
}

/// The line says that it was imported, and all that it said before.
fn is_imported(line: &[u8], envelope: &Envelope) {
    let expected = Envelope {
        imported: true,
        ..envelope.clone()
    };
    let once = imported(line);
    assert_eq!(split(&once), (Some(expected), &b""[..]));
    assert_eq!(*imported(&once), *once, "imported again");
}

/// An envelope of any text and any moment.
fn made_of(data: &[u8]) -> Envelope {
    let mut fields = data.split(|&byte| byte == b'\n');
    let mut text = || String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
    let mut numbers = [0; 16];
    let length = data.len().min(16);
    numbers[..length].copy_from_slice(&data[..length]);
    let [a, b, c, d, e, f, g, h, ..] = numbers;
    Envelope {
        session: text(),
        received_at: Timestamp::from_seconds(
            i64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (a % 64),
            u32::from_be_bytes([e, f, g, h]),
        ),
        sensor: text(),
        src_ip: IpAddr::V6(Ipv6Addr::from(numbers)),
        src_port: u16::from_be_bytes([a, b]),
        dst_ip: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        dst_port: u16::from_be_bytes([c, d]),
        helo: text(),
        mail_from: text(),
        user: (a & 1 == 0).then(&mut text),
        tls: (a & 2 == 0).then(&mut text),
        imported: a & 4 == 0,
        rcpt_to: fields
            .map(|field| String::from_utf8_lossy(field).into_owned())
            .collect(),
    }
}
