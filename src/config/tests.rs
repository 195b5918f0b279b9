use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(Path::new("shiva.conf"), text)
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = load("[database]\nengine : sqlite\n").unwrap();
    assert_eq!(config.receiver.listenport, 25);
    assert_eq!(config.receiver.maxmessagesize, 25 * 1024 * 1024);
    assert_eq!(config.analyzer.schedulertime, 60);
    assert_eq!(config.queuepath, Path::new("/var/lib/shiva/queue"));
    assert_eq!(config.analyzer.rule, Rule::default());
    assert!(config.database.localdb);
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
    assert_eq!(config.receiver.listenhost, "203.0.113.7");
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
        "shiva.conf:3: [receiver] listenport : \"99999\" is not allowed; it must be a whole \
         number from 1 to 65535"
    );
    for wrong in [
        "[analyzer]\nrelay = maybe\n",
        "[global]\nqueuepath = relative/path\n",
        "[database]\nengine = oracle\n",
        "[database]\ntempdb = Shiva`Temp\n",
        "[database]\nmaindb = one\ntempdb = One\n",
        "[database]\nsocket = run/mysqld.sock\n",
        "[analyzer]\nsimilarity = 0\n",
    ] {
        assert!(load(wrong).is_err(), "{wrong}");
    }
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
    assert_eq!(config.receiver.listenport, 3);
    assert_eq!(config.receiver.sensorname, "main");
}
