//! A dialogue with the real server reads as one with ours.
//!
//! Each dialogue of `tests/golden/smtp/` is spoken with the server that it is of, as Debian has
//! it, and with our receiver; both must answer as it is written, but for names, dates and ids,
//! which [`plain`] takes out. A dialogue with a line `N:` is of ours alone, and says why.
//!
//! The servers run unpacked and on loopback (`tests/tools/`), with the settings that a face is
//! drawn from. They take mail for everybody and throw it away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::dialogue::{self, Action, Dialogue};
use crate::dovecot::Dovecot;
use crate::rig::{PATIENCE, Rig, Service, finish, free_port, wait_until};

/// A server that listens, until it is dropped.
struct Server {
    _service: Service,
    _dovecot: Option<Dovecot>,
    _directory: tempfile::TempDir,
    port: u16,
}

#[test]
fn postfix() {
    compare("postfix", |login| {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("auth");
        let (certificate, key) = certificate(directory.path());
        let mut settings = vec![
            "smtpd_tls_security_level = may".to_owned(),
            format!("smtpd_tls_cert_file = {certificate}"),
            format!("smtpd_tls_key_file = {key}"),
        ];
        if login {
            settings.extend([
                "smtpd_sasl_auth_enable = yes".to_owned(),
                "smtpd_sasl_type = dovecot".to_owned(),
                format!("smtpd_sasl_path = {}", socket.display()),
            ]);
        }
        let dovecot = login.then(|| Dovecot::listen(&socket));
        let top = directory.path().join("postfix");
        std::fs::create_dir(&top).unwrap();
        open_up(directory.path());
        let port = free_port();
        let mut command = tool("postfix");
        command.arg(&top).arg(port.to_string()).args(settings);
        Server {
            _service: started(command, &directory.path().join("said"), port),
            _dovecot: dovecot,
            _directory: directory,
            port,
        }
    });
}

#[test]
fn exim() {
    compare("exim", |login| {
        let directory = tempfile::tempdir().unwrap();
        open_up(directory.path());
        let top = directory.path().join("exim");
        std::fs::create_dir(&top).unwrap();
        if rustix::process::geteuid().is_root() {
            // Exim refuses to be root; it is nobody then.
            std::os::unix::fs::chown(&top, Some(65534), Some(65534)).unwrap();
        }
        let port = free_port();
        let config = directory.path().join("exim.conf");
        std::fs::write(&config, exim_config(&top, port, login)).unwrap();
        let mut command = tool("exim");
        command.arg(&config).arg("-bdf");
        Server {
            _service: started(command, &directory.path().join("said"), port),
            _dovecot: None,
            _directory: directory,
            port,
        }
    });
}

/// Exim's defaults, but for what lets more in. Who logs in needs a name and no more.
fn exim_config(top: &Path, port: u16, login: bool) -> String {
    let (certificate, key) = certificate(top);
    format!(
        r#"
primary_hostname = mx.example
spool_directory = {top}/spool
log_file_path = {top}/%slog
pid_file_path = {top}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
queue_only
message_size_limit = 10240000
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
auth_advertise_hosts = {offered}
hosts_require_helo =
helo_accept_junk_hosts = *
sender_unqualified_hosts = *
recipient_unqualified_hosts = *
smtp_enforce_sync = false
rfc1413_query_timeout = 0s
acl_smtp_rcpt = everybody
begin acl
everybody:
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{def:auth2}}{{def:auth3}}}}}}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if def:auth1}}
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = fail
"#,
        top = top.display(),
        offered = if login { "*" } else { "" }
    )
}

/// No login: who may log in at a Sendmail stands in a database that only its package makes.
#[test]
fn sendmail() {
    compare("sendmail", |_| {
        let directory = tempfile::tempdir().unwrap();
        open_up(directory.path());
        let top = directory.path().join("sendmail");
        std::fs::create_dir(&top).unwrap();
        let port = free_port();
        let mut command = tool("sendmail");
        command.arg(&top).arg(port.to_string());
        Server {
            _service: started(command, &directory.path().join("said"), port),
            _dovecot: None,
            _directory: directory,
            port,
        }
    });
}

/// A certificate and its key, which everybody may read, in a directory.
fn certificate(directory: &Path) -> (String, String) {
    use std::os::unix::fs::PermissionsExt;
    let files = ["certificate", "key"].map(|name| directory.join(name));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=mx.example",
    ]);
    let output = finish(
        command
            .arg("-out")
            .arg(&files[0])
            .arg("-keyout")
            .arg(&files[1]),
    );
    assert!(output.status.success(), "{output:?}");
    let [certificate, key] = files.map(|file| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        file.display().to_string()
    });
    (certificate, key)
}

/// Other users than ours may go through this directory.
fn open_up(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, mode).unwrap();
}

fn tool(name: &str) -> Command {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/tools")
            .join(name),
    )
}

/// A service that listens on this port.
fn started(command: Command, said: &Path, port: u16) -> Service {
    let mut service = Service::logging(command, said);
    wait_until("the real server listens", || {
        let ended = service.0.try_wait().unwrap();
        let errors = || std::fs::read_to_string(said).unwrap_or_default();
        assert!(ended.is_none(), "the real server has ended: {}", errors());
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    service
}

/// Speaks all dialogues of one server with it and with ours. `real` starts the server; its
/// argument is whether one may log in.
fn compare(name: &str, real: impl Fn(bool) -> Server) {
    let of_it =
        |dialogue: &Dialogue| dialogue.name.starts_with(name) && dialogue.ours_alone.is_none();
    let dialogues: Vec<_> = dialogue::all().into_iter().filter(of_it).collect();
    let mut differences = Vec::new();
    for login in [false, true] {
        let these = |dialogue: &&Dialogue| dialogue.profile.auth.offered() == login;
        let these: Vec<_> = dialogues.iter().filter(these).collect();
        if these.is_empty() {
            continue;
        }
        let server = real(login);
        let accept = if login { "any" } else { "listed" };
        let rig = Rig::with(&format!(
            "[receiver]\nhostname : mx.example\nmaxmessagesize : 10240000\n\
             personality : {name}\nauthaccept : {accept}\n"
        ));
        let _receiver = rig.receiver();
        for dialogue in these {
            for (who, port) in [("the real one", server.port), ("ours", rig.port)] {
                if let Err(difference) = speak(dialogue, port) {
                    differences.push(format!("{}, {who}: {difference}", dialogue.name));
                }
            }
        }
    }
    assert!(dialogues.len() > 5, "{} dialogues", dialogues.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Has a dialogue with the server on this port; the first thing that is not as written.
fn speak(dialogue: &Dialogue, port: u16) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    for exchange in &dialogue.exchanges {
        for action in &exchange.actions {
            let Action::Say(bytes) = action else {
                panic!("{}: nobody can tell a real server that", dialogue.name);
            };
            // Whoever has hung up does not hear it; what was said before is still to be read.
            let _ = reader.get_mut().write_all(bytes);
        }
        for line in &exchange.expected {
            let Some(expected) = line.strip_prefix("S:").map(str::trim_start) else {
                continue;
            };
            let mut found = Vec::new();
            let _ = reader.read_until(b'\n', &mut found);
            let found = String::from_utf8_lossy(&found);
            let (found, expected) = (plain(found.trim_end()), plain(expected));
            if found != expected {
                return Err(format!("{expected:?} is written, {found:?} was said"));
            }
        }
        if exchange.expected.iter().any(|line| line == "X:") {
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest);
            if !rest.is_empty() {
                return Err(format!(
                    "more was said: {:?}",
                    String::from_utf8_lossy(&rest)
                ));
            }
        }
    }
    Ok(())
}

/// A reply without what differs from session to session.
fn plain(line: &str) -> String {
    let line = line.replace("192.0.2.7", "127.0.0.1");
    // Sendmail knows the name of loopback.
    let line = line.replace("localhost [", "[");
    let challenge = line
        .strip_prefix("334 ")
        .and_then(|text| BASE64_STANDARD.decode(text).ok());
    if challenge.is_some_and(|text| text.starts_with(b"<")) {
        return "334 CHALLENGE".into();
    }
    for (before, after) in [
        ("queued as ", ""),
        ("bytes queued as ", ""),
        ("250 OK id=", ""),
        // Exim counts the header that it adds.
        (" byte chunk, total ", ""),
        ("ESMTP Exim 4.96 ", " +0000"),
        ("8.17.1.9/8.17.1.9; ", " GMT"),
        ("250 2.0.0 ", " Message accepted for delivery"),
    ] {
        if let Some((head, tail)) = line.split_once(before)
            && tail.ends_with(after)
        {
            return format!("{head}{before}ID{after}");
        }
    }
    line
}
