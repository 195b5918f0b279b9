//! TLS at the receiver, by clients that are not ours: Python's smtplib and ssl, swaks, OpenSSL.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::rig::{Client, Rig, Service, finish, free_port, wait_until};

/// A receiver with a port for TLS, that records.
struct Encrypted {
    rig: Rig,
    port: u16,
    receiver: Service,
}

impl Encrypted {
    fn with(keys: &str) -> Encrypted {
        let (rig, port) = (Rig::new(), free_port());
        rig.configure(&format!(
            "[receiver]\ntlslistenport : {port}\nsessionlog : {}\n{keys}\n",
            rig.path("sessions.json").display()
        ));
        let receiver = Service::logging(rig.command("shiva-receiver"), &rig.path("log"));
        let log = || fs::read_to_string(rig.path("log")).unwrap();
        wait_until("it listens", || log().contains("protocol=smtps"));
        Encrypted {
            rig,
            port,
            receiver,
        }
    }

    /// Stops it; what was recorded of this kind.
    fn recorded(self, event: &str) -> Vec<Value> {
        self.receiver.stop();
        let text = fs::read_to_string(self.rig.path("sessions.json")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["eventid"] == event)
            .collect()
    }
}

/// Runs a client that must succeed; what it printed, errors too.
fn ran(command: &mut Command) -> String {
    let output = finish(command);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The envelope of the only message in the queue.
fn envelope(rig: &Rig) -> Value {
    let queue = rig.queue();
    assert_eq!(queue.len(), 1);
    let text = fs::read_to_string(&queue[0]).unwrap();
    let line = text.lines().next().unwrap();
    serde_json::from_str(line.strip_prefix("X-Shiva-Envelope: ").unwrap()).unwrap()
}

const PYTHON: &str = r#"
import smtplib, ssl, sys
plain, tls, version, sni = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl._create_unverified_context()
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
if tls:
    client = smtplib.SMTP_SSL("127.0.0.1", tls, context=context)
else:
    client = smtplib.SMTP("127.0.0.1", plain)
    client._host = sni
    client.ehlo()
    client.starttls(context=context)
client.ehlo()
assert not client.has_extn("starttls"), client.esmtp_features
client.sendmail("a@b", ["c@d"], b"Subject: x\r\n\r\n" + b"0123456789" * 20_000 + b"\r\n")
print(client.sock.version())
client.quit()
"#;

#[test]
fn python_sends_by_starttls_and_over_tls_in_both_versions() {
    for (implicit, version, name) in [
        (false, "TLSv1_2", "TLSv1.2"),
        (false, "TLSv1_3", "TLSv1.3"),
        (true, "TLSv1_2", "TLSv1.2"),
        (true, "TLSv1_3", "TLSv1.3"),
    ] {
        let encrypted = Encrypted::with("");
        let rig = &encrypted.rig;
        let port = if implicit { encrypted.port } else { 0 };
        let (plain, tls) = (rig.port.to_string(), port.to_string());
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON, &plain, &tls, version, "mx.example.net"]);
        assert_eq!(ran(&mut command).trim(), name);
        let envelope = envelope(rig);
        assert_eq!(envelope["tls"], name);
        let size = fs::metadata(&rig.queue()[0]).unwrap().len();
        assert!(size > 200_000, "{size}");
        let handshakes = encrypted.recorded("shiva.tls");
        assert_eq!(handshakes.len(), 1);
        let seen = &handshakes[0];
        assert_eq!(seen["version"], name);
        assert_eq!(seen["session"], envelope["session"]);
        let spoken = if implicit { "smtps" } else { "smtp" };
        assert_eq!(seen["protocol"], spoken);
        assert!(
            seen["cipher"].as_str().unwrap().starts_with("TLS_"),
            "{seen}"
        );
        let begins = match (implicit, version) {
            (false, "TLSv1_2") => "t12d",
            (false, _) => "t13d",
            // An address is no server name.
            (true, "TLSv1_2") => "t12i",
            (true, _) => "t13i",
        };
        let ja4 = seen["ja4"].as_str().unwrap();
        assert!(ja4.starts_with(begins) && ja4.len() == 36, "{ja4}");
        let sni = if implicit {
            Value::Null
        } else {
            "mx.example.net".into()
        };
        assert_eq!(seen["sni"], sni);
        assert!(seen.get("error").is_none());
    }
}

#[test]
fn swaks_logs_in_and_sends_within_tls() {
    let encrypted = Encrypted::with("authaccept : any");
    let rig = &encrypted.rig;
    let server = format!("127.0.0.1:{}", rig.port);
    let said = ran(Command::new("swaks").args([
        "--server",
        &server,
        "--tls",
        "--auth",
        "LOGIN",
        "--auth-user",
        "bob",
        "--auth-password",
        "Geheim",
        "--from",
        "a@b",
        "--to",
        "c@d",
    ]));
    assert!(said.contains("TLS started"), "{said}");
    assert_eq!(envelope(rig)["user"], "bob");
    assert_eq!(envelope(rig)["tls"], "TLSv1.3");
    let logins = encrypted.recorded("shiva.login.success");
    assert_eq!(logins.len(), 1);
    assert_eq!(
        (&logins[0]["username"], &logins[0]["password"]),
        (&"bob".into(), &"Geheim".into())
    );
}

/// What OpenSSL says of the certificate at a port.
fn certificate(port: u16, starttls: bool) -> String {
    let address = format!("127.0.0.1:{port}");
    let starttls = if starttls { "-starttls smtp" } else { "" };
    let script = format!(
        "echo QUIT | openssl s_client -connect {address} {starttls} 2>/dev/null |
         openssl x509 -noout -subject -fingerprint"
    );
    ran(Command::new("bash").args(["-euo", "pipefail", "-c", &script]))
}

/// A certificate and its key, made by OpenSSL.
fn pair(rig: &Rig, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (
        rig.path(&format!("{name}.crt")),
        rig.path(&format!("{name}.key")),
    );
    ran(Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        ])
        .arg(format!("/CN={name}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    (certificate, key)
}

#[test]
fn without_a_pair_one_is_made_and_stays_over_a_reload() {
    let encrypted = Encrypted::with("");
    let first = certificate(encrypted.rig.port, true);
    assert!(first.contains("CN = mx.example.net"), "{first}");
    assert_eq!(certificate(encrypted.port, false), first);
    hangup(&encrypted);
    assert_eq!(certificate(encrypted.port, false), first);
}

fn hangup(encrypted: &Encrypted) {
    let log = || fs::read_to_string(encrypted.rig.path("log")).unwrap();
    let checked = || log().matches("event=config.").count();
    let before = checked();
    let pid = rustix::process::Pid::from_child(&encrypted.receiver.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    wait_until("it has read the configuration", || checked() > before);
}

#[test]
fn a_reload_takes_a_new_certificate_users_and_limits_and_drops_no_session() {
    let encrypted = Encrypted::with("");
    let rig = &encrypted.rig;
    let (certificate_file, key) = pair(rig, "one.example.net");
    let mut old = rig.client();
    rig.configure(&format!(
        "tlscert : {}\ntlskey : {}\nauthenabled : True\nsmtpuser : bob\nsmtppasswd : x\n\
         maxrecipients : 1\nlistenport : {}\n",
        certificate_file.display(),
        key.display(),
        free_port()
    ));
    hangup(&encrypted);
    let log = || fs::read_to_string(rig.path("log")).unwrap();
    let said = "event=config.checked changed=yes reloaded=receiver.authenabled,\
                receiver.maxrecipients,receiver.smtppasswd,receiver.smtpuser,receiver.tlscert,\
                receiver.tlskey restart=receiver.listenport ";
    assert!(log().contains(said), "{}", log());
    let shown = certificate(encrypted.port, false);
    assert!(shown.contains("CN = one.example.net"), "{shown}");
    let mut new = rig.client();
    assert!(new.say("MAIL FROM:<a@b>").starts_with("530 "));
    assert!(new.say("AUTH PLAIN AGJvYgB4").starts_with("235 "));
    new.say("MAIL FROM:<a@b>");
    new.say("RCPT TO:<c@d>");
    assert!(new.say("RCPT TO:<e@f>").starts_with("452 "));
    // The session that was there is served as before.
    let reply = old.mail("a@b", "c@d", b"x\r\n").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    // The same certificate is no news; one that was renewed under its name is.
    hangup(&encrypted);
    let said = "event=config.checked changed=yes reloaded=none restart=receiver.listenport ";
    assert!(log().contains(said), "{}", log());
    let (renewed, its_key) = pair(rig, "two.example.net");
    fs::copy(renewed, &certificate_file).unwrap();
    fs::copy(its_key, &key).unwrap();
    hangup(&encrypted);
    let said = "event=config.checked changed=yes reloaded=receiver.tlscert ";
    assert!(log().contains(said), "{}", log());
    let shown = certificate(encrypted.port, false);
    assert!(shown.contains("CN = two.example.net"), "{shown}");
    // A pair that does not fit changes nothing.
    let (other, _) = pair(rig, "other.example.net");
    fs::copy(other, &certificate_file).unwrap();
    hangup(&encrypted);
    assert!(
        log().contains("event=config.wrong reason=\"[receiver] tlscert : "),
        "{}",
        log()
    );
    let shown = certificate(encrypted.port, false);
    assert!(shown.contains("CN = two.example.net"), "{shown}");
}

#[test]
fn a_pair_that_cannot_be_used_ends_the_receiver_with_the_remedy() {
    let rig = Rig::new();
    rig.configure("[receiver]\ntlscert : /nonexistent/x.crt\ntlskey : /nonexistent/x.key\n");
    for options in [&[][..], &["--check-config"]] {
        let output = finish(rig.command("shiva-receiver").args(options));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{errors}");
        for part in [
            "tlscert : /nonexistent/x.crt: ",
            "set tlscert and tlskey to nothing",
        ] {
            assert!(errors.contains(part), "{part} in {errors}");
        }
    }
}

/// CVE-2011-0411: what a client, or who is between, puts behind STARTTLS in the clear is not done
/// within TLS.
#[test]
fn commands_injected_before_the_handshake_are_not_done() {
    let encrypted = Encrypted::with("");
    let script = r#"
import socket, ssl, sys
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
file = plain.makefile("rb")
file.readline()
plain.sendall(b"EHLO x\r\n")
while file.readline()[3:4] == b"-": pass
plain.sendall(b"STARTTLS\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
assert file.readline().startswith(b"220 ")
client = ssl._create_unverified_context().wrap_socket(plain)
client.sendall(b"RCPT TO:<c@d>\r\nQUIT\r\n")
said = client.makefile("rb").read()
assert said.startswith(b"503 ") and said.count(b"\r\n") == 2, said
"#;
    let port = encrypted.rig.port.to_string();
    ran(Command::new("python3").args(["-c", script, &port]));
    let commands = encrypted.recorded("shiva.command");
    let inputs: Vec<_> = commands
        .iter()
        .map(|line| line["input"].as_str().unwrap())
        .collect();
    assert_eq!(inputs, ["EHLO x", "STARTTLS", "RCPT TO:<c@d>", "QUIT"]);
}

/// A connection on which Python has said hello, and says no more.
fn greeted(port: u16) -> TcpStream {
    let script = r#"
import ssl, sys
said = ssl.MemoryBIO()
client = ssl._create_unverified_context().wrap_bio(ssl.MemoryBIO(), said)
try:
    client.do_handshake()
except ssl.SSLWantReadError:
    sys.stdout.buffer.write(said.read())
"#;
    let hello = finish(Command::new("python3").args(["-c", script])).stdout;
    assert!(hello.starts_with(b"\x16\x03\x01"));
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(&hello).unwrap();
    client
}

#[test]
fn a_handshake_that_fails_is_recorded_and_one_that_never_ends_is_ended() {
    let encrypted = Encrypted::with("idletimeout : 1");
    let mut client = encrypted.rig.client();
    assert!(client.say("STARTTLS").starts_with("220 "));
    client.send(b"no hello of any kind\r\n");
    while client.reply().is_some() {}
    // The other says hello and no more.
    let mut silent = greeted(encrypted.port);
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(rest.starts_with(b"\x16\x03\x03"), "a ServerHello");
    let plain = Client::connect(encrypted.rig.port).say("QUIT");
    assert!(plain.starts_with("221 "), "{plain}");
    let failed = encrypted.recorded("shiva.tls");
    let errors: Vec<_> = failed
        .iter()
        .map(|line| line["error"].as_str().unwrap())
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(failed.iter().all(|line| line["version"].is_null()));
    assert!(failed[0]["ja4"].is_null());
    let ja4 = failed[1]["ja4"].as_str().unwrap();
    assert!(ja4.starts_with("t13i") && ja4.len() == 36, "{ja4}");
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let encrypted = Encrypted::with("");
    let mut silent = greeted(encrypted.port);
    silent.read_exact(&mut [0]).unwrap();
    let failed = encrypted.recorded("shiva.tls");
    assert_eq!(failed[0]["error"], "the receiver stops");
}
