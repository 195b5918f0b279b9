//! What a Postfix asks to log somebody in: the authentication service of a Dovecot, played.
//!
//! It speaks as much of Dovecot's protocol as a Postfix does, and lets in every name that comes
//! whole and with a password. So what is said to a client is Postfix's, but for who gets in.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const HELLO: &str = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n\
                     MECH\tCRAM-MD5\tdictionary\tactive\nSPID\t1\nCUID\t1\nCOOKIE\t1\nDONE\n";

/// The service; it ends with the test.
pub struct Dovecot;

impl Dovecot {
    /// Listens on this socket, which anybody may use.
    pub fn listen(socket: &Path) -> Dovecot {
        let listener = UnixListener::bind(socket).unwrap();
        let mode = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(socket, mode).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || serve(&stream));
            }
        });
        Dovecot
    }
}

/// An attempt under way: its mechanism, and what it said before.
type UnderWay = (String, Vec<Vec<u8>>);

fn serve(mut stream: &UnixStream) -> Option<()> {
    stream.write_all(HELLO.as_bytes()).ok()?;
    let mut under_way: HashMap<String, UnderWay> = HashMap::new();
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        let mut fields = line.split('\t');
        let (command, id) = (fields.next()?, fields.next()?.to_owned());
        let response = match command {
            "AUTH" => {
                let mechanism = fields.next()?.to_ascii_uppercase();
                under_way.insert(id.clone(), (mechanism, Vec::new()));
                fields.find_map(|field| field.strip_prefix("resp="))
            }
            "CONT" => Some(fields.next().unwrap_or_default()),
            _ => continue,
        };
        let (mechanism, said) = under_way.get_mut(&id)?;
        let answer = answer(&id, mechanism, said, response);
        stream.write_all(answer.as_bytes()).ok()?;
    }
    None
}

fn answer(id: &str, mechanism: &str, said: &mut Vec<Vec<u8>>, response: Option<&str>) -> String {
    let first = said.is_empty();
    // CRAM-MD5 does not listen to what comes before its challenge.
    let passed_over = mechanism == "CRAM-MD5" && first;
    if let Some(response) = response {
        match BASE64_STANDARD.decode(response.trim_end_matches(|c| response == "=" && c == '=')) {
            Ok(bytes) => said.push(bytes),
            Err(_) => {
                let which = if first { "initial" } else { "continued" };
                return format!("FAIL\t{id}\treason=Invalid base64 data in {which} response\n");
            }
        }
    }
    let ask = |text: &str| format!("CONT\t{id}\t{}\n", BASE64_STANDARD.encode(text));
    let decide = |user: &[u8], whole: bool| match whole && !user.is_empty() {
        true => format!("OK\t{id}\tuser={}\n", String::from_utf8_lossy(user)),
        false => format!("FAIL\t{id}\n"),
    };
    match (mechanism, said.as_slice()) {
        ("PLAIN", []) => format!("CONT\t{id}\t\n"),
        ("PLAIN", [response]) => {
            let fields: Vec<_> = response.splitn(3, |&byte| byte == 0).collect();
            decide(fields.get(1).unwrap_or(&&b""[..]), fields.len() == 3)
        }
        ("LOGIN", []) => ask("Username:"),
        ("LOGIN", [_]) => ask("Password:"),
        ("LOGIN", [user, _]) => decide(user, true),
        ("CRAM-MD5", _) if passed_over => {
            said.push(Vec::new());
            ask("<1.2@mx.example>")
        }
        _ => format!("FAIL\t{id}\n"),
    }
}
