//! The session log of a running receiver, and its rotation.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Rig, Service, finish, wait_until};

/// A receiver that records, and what it logs for the operator.
fn rig(extra: &str) -> Rig {
    let rig = Rig::new();
    let log = rig.path("sessions.json");
    rig.configure(&format!(
        "[receiver]\nsessionlog : {}\n{extra}",
        log.display()
    ));
    rig
}

fn hangup(service: &Service) {
    let pid = rustix::process::Pid::from_child(&service.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_session_is_recorded_from_its_first_byte_to_its_end() {
    let rig = rig("smtpuser : bob\nsmtppasswd : Geheim\nauthenabled : True\n");
    let receiver = Service::start(rig.command("shiva-receiver"));
    wait_until("it listens", || {
        std::net::TcpStream::connect(("127.0.0.1", rig.port)).is_ok()
    });
    let mut client = rig.client();
    assert!(client.say("AUTH PLAIN AGJvYgB4").starts_with("535 "));
    assert!(client.say("AUTH LOGIN").starts_with("334 "));
    assert!(client.say("Ym9i").starts_with("334 "));
    assert!(client.say("R2VoZWlt").starts_with("235 "));
    let reply = client.mail("", "c@d", b"Subject: x\r\n\r\nx\r\n").unwrap();
    let queue_id = reply.trim_end().rsplit(' ').next().unwrap();
    client.send(b"VRFY \xff\0\r\nQUIT\r\n");
    while client.reply().is_some() {}
    receiver.stop();

    let all = lines(&rig.path("sessions.json"));
    let session = all
        .iter()
        .rfind(|line| line["eventid"] == "shiva.login.success");
    let session = &session.unwrap()["session"];
    let of_it: Vec<_> = all
        .iter()
        .filter(|line| line["session"] == *session)
        .collect();
    let told: Vec<String> = of_it.iter().map(|line| told(line)).collect();
    let expected = [
        "session.connect",
        "command EHLO client.example.net",
        "command AUTH PLAIN AGJvYgB4",
        "login.failed PLAIN bob x",
        "command AUTH LOGIN",
        "login.success LOGIN bob Geheim",
        "command MAIL FROM:<>",
        "command RCPT TO:<c@d>",
        "command DATA",
        &format!("mail.received kept {queue_id} 17"),
        "command VRFY \\xff\0",
        "command QUIT",
        "session.closed 8 2 1",
    ];
    assert_eq!(told, expected);
    for line in of_it {
        assert_eq!(line["sensor"], "rig");
        assert_eq!(
            (&line["src_ip"], &line["dst_ip"]),
            (&"127.0.0.1".into(), &"127.0.0.1".into())
        );
        assert_eq!(line["dst_port"], rig.port);
        assert_eq!(line["protocol"], "smtp");
        let at = line["timestamp"].as_str().unwrap();
        assert!(at.len() == 27 && at.ends_with('Z'), "{at}");
    }
    let queued = fs::read_to_string(&rig.queue()[0]).unwrap();
    assert!(
        queued.contains(&format!("\"session\":{session}")),
        "{queued}"
    );
}

/// An event in short.
fn told(line: &Value) -> String {
    let text = |key: &str| match &line[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let id = text("eventid");
    let id = id.strip_prefix("shiva.").unwrap();
    let keys: &[&str] = match id {
        "command" => &["input"],
        "login.failed" | "login.success" => &["mechanism", "username", "password"],
        "mail.received" => &["outcome", "queue_id", "size"],
        "session.closed" => &["commands", "logins", "messages"],
        _ => &[],
    };
    let values = keys.iter().map(|key| text(key));
    std::iter::once(id.to_owned())
        .chain(values)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn no_line_is_lost_when_the_log_is_rotated_under_load() {
    let rig = rig("");
    let receiver = rig.receiver();
    let log = rig.path("sessions.json");
    const SESSIONS: usize = 4;
    const COMMANDS: usize = 900;
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            let rig = &rig;
            scope.spawn(move || {
                let mut client = rig.client();
                for count in 0..COMMANDS {
                    let reply = client.say(&format!("NOOP {number} {count}"));
                    assert!(reply.starts_with("250 "), "{reply}");
                }
                client.say("QUIT");
            });
        }
        for turn in 0..20 {
            fs::rename(&log, rig.path(&format!("sessions.json.{turn:02}"))).unwrap();
            hangup(&receiver);
            wait_until("there is a new one", || log.exists());
        }
    });
    receiver.stop();
    let mut files: Vec<_> = (0..20)
        .map(|turn| rig.path(&format!("sessions.json.{turn:02}")))
        .collect();
    files.push(log);
    let all: Vec<Value> = files.iter().flat_map(|file| lines(file)).collect();
    for number in 0..SESSIONS {
        let begins = format!("NOOP {number} ");
        let input = |line: &Value| line["input"].as_str().unwrap_or_default().to_owned();
        let said = all
            .iter()
            .map(input)
            .filter(|input| input.starts_with(&begins));
        let expected: Vec<_> = (0..COMMANDS)
            .map(|count| format!("{begins}{count}"))
            .collect();
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_log_that_is_taken_away_is_made_again() {
    let rig = rig("");
    let receiver = rig.receiver();
    let log = rig.path("sessions.json");
    fs::remove_file(&log).unwrap();
    wait_until("there is one", || {
        rig.client().say("QUIT");
        log.exists()
    });
    receiver.stop();
    assert!(lines(&log).iter().any(|line| line["input"] == "QUIT"));
}

#[test]
fn a_log_that_cannot_be_opened_ends_the_receiver_with_the_remedy() {
    let rig = Rig::new();
    let log = rig.path("none/sessions.json");
    rig.configure(&format!("[receiver]\nsessionlog : {}\n", log.display()));
    let output = finish(&mut rig.command("shiva-receiver"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{errors}");
    for part in ["none/sessions.json", "owned by the user of the receiver"] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
}
