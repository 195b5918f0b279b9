use proptest::prelude::*;

use super::*;

/// The example of the specification (FoxIO-LLC/ja4, technical_details/JA4.md), in the order in
/// which the client sends it.
fn example() -> Hello {
    Hello {
        version: 0x0304,
        ciphers: vec![
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ],
        extensions: vec![
            0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
            0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
        ],
        signatures: vec![
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ],
        protocol: b"h2".to_vec(),
        server_name: Some(b"example.com".to_vec()),
    }
}

#[test]
fn the_example_of_the_specification() {
    assert_eq!(example().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let unsigned = Hello {
        signatures: Vec::new(),
        ..example()
    };
    assert_eq!(unsigned.ja4(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    assert_eq!(
        Hello::default().ja4(),
        "t00i000000_000000000000_000000000000"
    );
    let many = Hello {
        ciphers: vec![1; 300],
        ..example()
    };
    assert!(many.ja4().starts_with("t13d9916h2_"));
}

#[test]
fn protocols_as_the_specification_writes_them() {
    for (protocol, written) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"", "00"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ] {
        assert_eq!(ends(protocol), written, "{protocol:?}");
    }
}

/// A vector with a length of one byte or of two before it.
fn with_length(bytes: &[u8], of_length: usize) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[2 - of_length..], bytes].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// A hello as it goes over the wire, GREASE put in everywhere, in records of `record` bytes.
fn wire(hello: &Hello, record: usize) -> Vec<u8> {
    let greased = |values: &[u16]| numbers(&[&[0x0a0a], values, &[0xfafa]].concat());
    let mut extensions = numbers(&[0x1a1a, 0]);
    for kind in &hello.extensions {
        let content = match *kind {
            SERVER_NAME => {
                let name = with_length(hello.server_name.as_deref().unwrap(), 2);
                with_length(&[&[0], &name[..]].concat(), 2)
            }
            SIGNATURE_ALGORITHMS => with_length(&greased(&hello.signatures), 2),
            ALPN => with_length(&with_length(&hello.protocol, 1), 2),
            SUPPORTED_VERSIONS => with_length(&greased(&[0x0303, hello.version, 0x0302]), 1),
            _ => Vec::new(),
        };
        extensions.extend(numbers(&[*kind]));
        extensions.extend(with_length(&content, 2));
    }
    let body = [
        &[3, 3][..],
        &[7; 32],
        &with_length(&[9; 32], 1),
        &with_length(&greased(&hello.ciphers), 2),
        &with_length(&[0], 1),
        &with_length(&extensions, 2),
    ]
    .concat();
    let handshake = [&[1, 0], &with_length(&body, 2)[..]].concat();
    let records = handshake.chunks(record);
    records
        .flat_map(|piece| [&[22, 3, 1], &with_length(piece, 2)[..]].concat())
        .collect()
}

#[test]
fn a_hello_is_read_however_it_is_cut_into_records() {
    for record in [1, 7, 100, 16_384] {
        let wire = wire(&example(), record);
        assert_eq!(Hello::read(&wire), Some(example()));
        assert_eq!(
            Hello::read(&[&wire[..], b"\x14\x03\x03"].concat()),
            Some(example())
        );
        assert_eq!(Hello::read(&wire[..wire.len() - 1]), None);
    }
    assert_eq!(example().server_name(), Some(&b"example.com"[..]));
    for other in [&b"EHLO x\r\n"[..], b"", b"\x16", b"\x80\x2e\x01\x00\x02"] {
        assert_eq!(Hello::read(other), None, "{other:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        at in 0..400_usize,
        value in any::<u8>(),
    ) {
        let _ = Hello::read(&bytes).map(|hello| hello.ja4());
        let mut wire = wire(&example(), 16_384);
        let at = at % wire.len();
        wire[at] = value;
        if let Some(hello) = Hello::read(&wire) {
            prop_assert_eq!(hello.ja4().len(), 36);
        }
    }
}
