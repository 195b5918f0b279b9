use super::*;
use crate::smtp::Accept;

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(Path::new("shiva.conf"), text)
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = load("[database]\nengine : sqlite\n").unwrap();
    assert_eq!(config.receiver.listenhost, ["localhost"]);
    assert_eq!(config.receiver.listenport, [25]);
    assert_eq!(config.receiver.maxmessagesize, 25 * 1024 * 1024);
    assert_eq!(config.analyzer.schedulertime, 60);
    assert_eq!(config.queuepath, Path::new("/var/lib/shiva/queue"));
    assert_eq!(config.analyzer.rule, Rule::default());
    assert!(config.database.localdb);
    let relay = &config.relay;
    assert_eq!((relay.on, relay.policy), (false, Policy::Counter));
    assert_eq!((relay.individual, relay.global), (3, 30));
    assert_eq!(
        (relay.server().as_str(), relay.max_recipients),
        ("127.0.0.1:2500", 3)
    );
    assert_eq!((relay.deny.len(), relay.tokens.len()), (0, 0));
    assert_eq!(relay.hostname, config.receiver.hostname);
    assert!(!config.notification.enabled && !config.hpfeeds.enabled);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_first_shivas_file_loads_unchanged() {
    let old = "[global]\nqueuepath : somepath\n[receiver]\nlistenhost : 203.0.113.7\n\
               listenport : 2525\nsensorname : old-one\nauthenabled : False\n[smtpauth]\n\
               smtpuser : admin, root ; two of them\nsmtppasswd : a, b\n[analyzer]\n\
               relay : False\nglobalcounter : 50\nindividualcounter : 2\nrelayport : 2500\n\
               relayhost : 127.0.0.1\nundeliverable_path : somepath\nschedulertime : 60\n\
               rawspampath : somepath\nattachpath : somepath\ninlinepath : somepath\n\
               [database]\nlocaldb : True\nhost : localhost\nuser : root\npassword : pa%ss\n\
               [hpfeeds]\nenabled : False\nhost : hpfriends.honeycloud.net\nport : 20000\n\
               ident : x\nsecret : y\n[notification]\nenabled : False\n\
               recipient : sumit.iips@gmail.com\n[oldsection]\nkey : 1\n";
    let config = load(old).unwrap();
    assert_eq!(config.receiver.listenhost, ["203.0.113.7"]);
    assert_eq!(config.queuepath, Path::new("/var/lib/shiva/queue"));
    assert_eq!(config.database.engine, Engine::Mysql);
    let server = &config.database.server;
    assert_eq!((server.host.as_str(), server.port), ("localhost", 3306));
    assert_eq!(
        (server.user.as_str(), server.password.as_str()),
        ("root", "pa%ss")
    );
    assert_eq!(
        (server.main.as_str(), server.window.as_str()),
        ("Shiva", "ShivaTemp")
    );
    assert_eq!(server.socket, None);
    let warned = config.warnings.join("\n");
    for part in ["[oldsection] key", "honeycloud", "recipient"] {
        assert!(warned.contains(part), "{part} in {warned}");
    }
}

#[test]
fn a_wrong_value_says_all_an_operator_needs() {
    let error = load("[receiver]\n\nlistenport = 99999\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "shiva.conf:3: [receiver] listenport : \"99999\" is not allowed; it must be one or \
         more whole numbers from 1 to 65535, separated by commas"
    );
    for wrong in [
        "[receiver]\nlistenport = 25, 0\n",
        "[receiver]\nlistenport =\n",
        "[receiver]\nlistenhost = ,\n",
        "[receiver]\nlistenhost = 192.0.2.1 192.0.2.2\n",
        "[receiver]\nhostname = my host\n",
        "[receiver]\nhostname = mx.example.net, mx.example.org\n",
        "[analyzer]\nrelayhost =\n",
        "[analyzer]\nrelayhost = 127.0.0.1 2500\n",
        "[analyzer]\nrelay = maybe\n",
        "[global]\nqueuepath = relative/path\n",
        "[database]\nengine = oracle\n",
        "[database]\ntempdb = Shiva`Temp\n",
        "[database]\nmaindb = one\ntempdb = One\n",
        "[database]\nsocket = run/mysqld.sock\n",
        "[analyzer]\nsimilarity = 0\n",
        "[analyzer]\nrelaypolicy = always\n",
        "[analyzer]\nrelaydeny = example.net, b\u{fc}cher.example\n",
        "[analyzer]\nrelaydeny = somebody@example.net\n",
        "[analyzer]\nrelaydeny = *\n",
    ] {
        assert!(load(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address() {
    let relay = |host: &str| {
        let text = format!("[receiver]\nhostname = {host}\n[analyzer]\nrelayhost = {host}\n");
        let config = load(&text).unwrap();
        assert_eq!(config.receiver.hostname, host);
        config.relay
    };
    for host in [
        "mx_1.example",
        "localhost",
        "192.0.2.1",
        "m\u{fc}ll.example",
    ] {
        assert_eq!(relay(host).server(), format!("{host}:2500"));
    }
    for host in ["::1", "[::1]"] {
        assert_eq!(
            (relay(host).host.as_str(), relay(host).server().as_str()),
            ("::1", "[::1]:2500")
        );
    }
    let error = load("[analyzer]\nrelayhost = 127.0.0.1 2500\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "shiva.conf:2: [analyzer] relayhost : \"127.0.0.1 2500\" is not allowed; it must be one \
         host name or address, without white space"
    );
}

#[test]
fn the_receiver_listens_on_every_host_and_port_of_a_list() {
    let config =
        load("[receiver]\nlistenhost = 192.0.2.1, ::1,\n mx.example\nlistenport = 25,587\n");
    let receiver = config.unwrap().receiver;
    assert_eq!(receiver.listenhost, ["192.0.2.1", "::1", "mx.example"]);
    assert_eq!(receiver.listenport, [25, 587]);
}

#[test]
fn drop_ins_are_read_in_name_order_and_win() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("shiva.conf");
    std::fs::write(&file, "[receiver]\nlistenport = 1\nsensorname = main\n").unwrap();
    let drop_in = scratch.path().join("conf.d");
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::write(drop_in.join("20.conf"), "[receiver]\nlistenport = 3\n").unwrap();
    std::fs::write(drop_in.join("10.conf"), "[receiver]\nlistenport = 2\n").unwrap();
    std::fs::write(drop_in.join("README"), "not a configuration").unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert_eq!(config.receiver.listenport, [3]);
    assert_eq!(config.receiver.sensorname, "main");
}

#[test]
fn relaying_is_said_at_every_start() {
    let config = load(
        "[receiver]\nhostname = mx.example\n[analyzer]\nrelay = on\nglobalcounter = 5\n\
         individualcounter = 1\nrelaypolicy = probe\nprobetokens = red-42,, 192.0.2.7 ,\n \
         mx17.example\nrelaydeny = @Example.net, *.example.org., .example.com\n",
    )
    .unwrap();
    let relay = &config.relay;
    assert!(relay.on);
    assert_eq!(relay.policy, Policy::Probe);
    assert_eq!((relay.individual, relay.global), (1, 5));
    assert_eq!(relay.tokens, ["red-42", "192.0.2.7", "mx17.example"]);
    assert_eq!(
        relay.deny,
        ["@Example.net", "*.example.org.", ".example.com"]
    );
    assert_eq!(relay.hostname, "mx.example");
    assert_eq!(relay.own_names[..2], ["mx.example", &system_hostname()]);
    let said = "relay : True: up to 1 copies of a spam and 5 spams a window, of those that look \
                like a test of the relay, are sent on to 127.0.0.1:2500";
    assert!(config.warnings.iter().any(|warning| warning == said));
}

#[test]
fn a_token_that_is_not_looked_for_is_warned_about() {
    let config = load("[analyzer]\nprobetokens = mx, mx17, 127.0.0.1\n").unwrap();
    let warned = |token: &str| {
        let begins = format!("probetokens : {token} is too short");
        config.warnings.iter().any(|line| line.starts_with(&begins))
    };
    assert_eq!(["mx", "127.0.0.1", "mx17"].map(warned), [true, true, false]);
}

#[test]
fn a_relayhost_elsewhere_is_warned_about_when_it_is_used() {
    for (relayhost, keys, warned) in [
        ("127.0.0.1", "relay = on", false),
        ("127.1.2.3", "relay = on", false),
        ("::1", "relay = on", false),
        ("Localhost", "relay = on", false),
        ("192.0.2.1", "relay = on", true),
        ("mail.example.net", "relay = on", true),
        ("localhost.example.net", "relay = on", true),
        ("192.0.2.1", "relay = off", false),
        (
            "192.0.2.1",
            "[notification]\nenabled = on\nrecipient = me@example.net",
            true,
        ),
    ] {
        let text = format!("[analyzer]\nrelayhost = {relayhost}\n{keys}\n");
        let warnings = load(&text).unwrap().warnings;
        let found = warnings.iter().any(|line| line.contains("not on loopback"));
        assert_eq!(found, warned, "{text}: {warnings:?}");
    }
    let config = load("[analyzer]\nrelayhost = ::1\n").unwrap();
    assert_eq!(config.relay.server(), "[::1]:2500");
}

#[test]
fn nothing_is_shared_without_all_that_a_broker_needs() {
    let broker = "host = 127.0.0.1\nident = me\nsecret = s3cret\n";
    for (keys, enabled, warned) in [
        (broker, true, ""),
        ("", false, "without host and ident and secret"),
        ("host = ::1\nident = me\n", false, "without secret"),
        (
            "host = HPfriends.honeycloud.net\nident = a\nsecret = b\n",
            false,
            "no more",
        ),
        (
            "host = 192.0.2.1\nident = a\nsecret = b\n",
            true,
            "machine, unencrypted; ",
        ),
        (
            "host = 192.0.2.1\nident = a\nsecret = b\ntls = on\n",
            true,
            "machine; ",
        ),
        (
            "host = ::1\nident = a\nsecret = b\ncafile = /a\n",
            true,
            "cafile without tls",
        ),
        (
            "host = ::1\nident = a\nsecret = b\npseudonyms = none\n",
            true,
            "addresses away",
        ),
    ] {
        let config = load(&format!("[hpfeeds]\nenabled = on\n{keys}")).unwrap();
        assert_eq!(config.hpfeeds.enabled, enabled, "{keys}");
        let said = config.warnings.join("\n");
        match warned {
            "" => assert_eq!(said, ""),
            _ => assert!(said.contains(warned), "{keys}: {said}"),
        }
        let off = load(&format!("[hpfeeds]\n{keys}")).unwrap();
        assert!(!off.hpfeeds.enabled, "{keys}");
    }
    let config = load("[hpfeeds]\nhost = ::1\nident = me\ntls = on\noutboxmax = 2\n").unwrap();
    let broker = config.hpfeeds.broker();
    assert_eq!(
        (broker.address().as_str(), broker.ident.as_str()),
        ("[::1]:10000", "me")
    );
    assert_eq!(broker.tls.unwrap().authorities, None);
    assert_eq!(
        (config.hpfeeds.outbox_max, config.hpfeeds.pseudonyms),
        (2 << 20, true)
    );
    let shipped = load("[hpfeeds]\nhost = hpfriends.honeycloud.net\nident = x\n").unwrap();
    let broker = shipped.hpfeeds.broker();
    assert_eq!((broker.host.as_str(), broker.ident.as_str()), ("", ""));
}

#[test]
fn who_may_not_read_the_secret_does_not_miss_it() {
    for (ident, incomplete, said) in [("me", true, false), ("me", false, true), ("", true, true)] {
        let mut document = Document::default();
        let text = format!("[hpfeeds]\nenabled = on\nhost = ::1\nident = {ident}\n");
        document.read(Path::new("shiva.conf"), &text).unwrap();
        let skipped = incomplete.then(|| PathBuf::from("conf.d/secrets.conf"));
        let skipped = Vec::from_iter(skipped);
        let config = Config::from_document("shiva.conf".into(), &document, skipped, Vec::new());
        let config = config.unwrap();
        assert!(!config.hpfeeds.enabled);
        assert_eq!(!config.warnings.is_empty(), said, "{:?}", config.warnings);
    }
}

#[test]
fn notices_go_to_one_plain_address_or_to_nobody() {
    for (recipient, mailed, warned) in [
        ("me@example.net", true, ""),
        ("root", true, ""),
        ("", false, "without a recipient"),
        ("Sumit.IIPS@gmail.com", false, "author"),
        ("Me <me@example.net>", false, "one plain address"),
        (
            "me@example.net, you@example.net",
            false,
            "one plain address",
        ),
        ("me@b\u{fc}cher.example", false, "one plain address"),
        ("@example.net", false, "one plain address"),
    ] {
        let text = format!("[notification]\nenabled = on\nrecipient = {recipient}\n");
        let config = load(&text).unwrap();
        let notification = &config.notification;
        assert_eq!(notification.enabled, mailed, "{text}");
        assert_eq!(!notification.recipient.is_empty(), mailed, "{text}");
        if recipient == "root" {
            assert_eq!(notification.recipient, "root@localhost");
        }
        let said = config.warnings.join("\n");
        match warned {
            "" => assert_eq!(said, ""),
            _ => assert!(said.contains(warned), "{text}: {said}"),
        }
    }
}

#[test]
fn the_sender_of_notices_is_a_whole_address_or_none() {
    for (sender, read) in [
        ("trap@example.net", "trap@example.net"),
        ("trap", ""),
        ("", ""),
        ("a@b@example.net", ""),
    ] {
        let text = format!("[notification]\nsender = {sender}\n");
        let config = load(&text).unwrap();
        assert_eq!(config.notification.sender, read, "{text}");
        let warned = !sender.is_empty() && read.is_empty();
        assert_eq!(!config.warnings.is_empty(), warned, "{text}");
    }
}

#[test]
fn users_and_passwords_are_pairs_by_position() {
    let config = load(
        "[receiver]\nauthenabled = on\nsmtpuser = Bob, alice,\n carol\n\
         smtppasswd = a b, ,\n C\n",
    )
    .unwrap();
    let auth = &config.receiver.auth;
    assert!(auth.required);
    assert_eq!(auth.accept, Accept::Listed);
    let pairs: Vec<_> = auth
        .pairs
        .iter()
        .map(|p| (&p.user[..], &p.password[..]))
        .collect();
    let expected: [(&[u8], &[u8]); 3] = [(b"Bob", b"a b"), (b"alice", b""), (b"carol", b"C")];
    assert_eq!(pairs, expected);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    for (wrong, said) in [
        (
            "smtpuser = a, b\nsmtppasswd = c",
            "2 names and smtppasswd 1",
        ),
        ("smtpuser = a", "1 names and smtppasswd 0"),
        (
            "smtpuser = a,,b\nsmtppasswd = 1,2,3",
            "name 2 of 3 has 0 bytes",
        ),
        ("authaccept = all", "listed or any or none"),
    ] {
        let error = load(&format!("[receiver]\n{wrong}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn mail_that_nobody_can_send_is_warned_about() {
    for (keys, said) in [
        ("authenabled = on", "smtpuser is empty"),
        (
            "authenabled = on\nauthaccept = none\nsmtpuser = a\nsmtppasswd = b",
            "lets nobody in",
        ),
        ("authenabled = on\nauthaccept = any", ""),
        ("authenabled = off\nauthaccept = none", ""),
    ] {
        let warnings = load(&format!("[receiver]\n{keys}\n")).unwrap().warnings;
        match said {
            "" => assert!(warnings.is_empty(), "{keys}: {warnings:?}"),
            _ => assert!(
                warnings.iter().any(|line| line.contains(said)),
                "{keys}: {warnings:?}"
            ),
        }
    }
}
