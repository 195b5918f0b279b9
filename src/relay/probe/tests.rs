use super::*;

const HOST: &str = "mx17.example.net";

fn tokens(configured: &[&str], hostname: &str) -> Tokens {
    let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
    Tokens::new(&configured, hostname)
}

fn subject(subject: &str) -> Message {
    Message {
        subject: subject.into(),
        ..Message::default()
    }
}

fn text(text: &str) -> Message {
    Message {
        text: text.into(),
        ..Message::default()
    }
}

fn found(tokens: &Tokens, words: &str, dst_ip: &str) -> Option<String> {
    let dst_ip = Some(dst_ip).filter(|ip| !ip.is_empty());
    tokens.found(&text(words), dst_ip.map(|ip| ip.parse().unwrap()))
}

#[test]
fn a_token_is_found_in_every_form() {
    let tokens = tokens(&["Red-42 Box", "203.0.113.9", "2001:DB8::7"], HOST);
    for (words, token) in [
        ("via red-42 BOX.", "Red-42 Box"),
        ("5265642d343220426f78", "Red-42 Box"),
        ("x5265642D343220426F78x", "Red-42 Box"),
        ("UmVkLTQyIEJveA==", "Red-42 Box"),
        ("MVJlZC00MiBCb3g=", "Red-42 Box"),
        ("MjJSZWQtNDIgQm94", "Red-42 Box"),
        ("BC_203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:25 works", "203.0.113.9"),
        ("server=203.0.113.9.", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("http://3405803785/", "203.0.113.9"),
        ("(cb007109)", "203.0.113.9"),
        ("0xCB007109", "203.0.113.9"),
        ("3230332e302e3131332e39", "203.0.113.9"),
        ("MjAzLjAuMTEzLjk=", "203.0.113.9"),
        ("[2001:db8::7]:25", "2001:DB8::7"),
        ("ip:2001:0db8:0000:0000:0000:0000:0000:0007", "2001:DB8::7"),
        ("20010DB8000000000000000000000007", "2001:DB8::7"),
        ("42540766411282592856903984951653826567", "2001:DB8::7"),
        ("220 MX17.Example.NET ESMTP", HOST),
        ("root@mx17.example.net", HOST),
        ("6d7831372e6578616d706c652e6e6574", HOST),
        ("bXgxNy5leGFtcGxlLm5ldA==", HOST),
    ] {
        assert_eq!(found(&tokens, words, "").as_deref(), Some(token), "{words}");
    }
}

#[test]
fn what_only_resembles_a_token_is_not_found() {
    let tokens = tokens(&["red-42", "203.0.113.9", "2001:db8::7"], HOST);
    for words in [
        "",
        "red-421",
        "sacred-42",
        "red 42",
        "203.0.113.90",
        "1203.0.113.9",
        "1.203.0.113.9",
        "203.0.113.9.1",
        "13405803785",
        "cb0071090",
        "acb007109",
        "2001:db8::7:1",
        "1:2001:db8::7",
        "2001:db8::71",
        "mx17.example.network",
        "amx17.example.net",
        "BXGXNY5LEGFTCGXLLM5LDA==",
    ] {
        assert_eq!(found(&tokens, words, "198.51.100.1"), None, "{words}");
    }
}

#[test]
fn it_is_looked_for_in_subject_text_and_html() {
    let tokens = tokens(&[], HOST);
    let html = Message {
        html: format!("<p>{HOST}</p>"),
        ..Message::default()
    };
    for message in [subject(HOST), text(HOST), html] {
        assert_eq!(tokens.found(&message, None).as_deref(), Some(HOST));
    }
    let elsewhere = Message {
        from: HOST.into(),
        headers: format!("X-Seen: {HOST}"),
        to: vec![format!("a@{HOST}")],
        ..Message::default()
    };
    assert_eq!(tokens.found(&elsewhere, None), None);
}

#[test]
fn the_address_the_client_connected_to_is_one_of_them() {
    let none = Tokens::default();
    for (dst_ip, words, token) in [
        ("203.0.113.9", "test 203.0.113.9", Some("203.0.113.9")),
        ("::ffff:203.0.113.9", "203.0.113.9", Some("203.0.113.9")),
        ("2001:db8::7", "2001:DB8::7", Some("2001:db8::7")),
        ("203.0.113.9", "203.0.113.8", None),
        ("", "203.0.113.9", None),
        // What every second mail may hold, and no stranger knows of us.
        ("127.0.0.1", "127.0.0.1", None),
        ("::1", "::1", None),
        ("0.0.0.0", "0.0.0.0", None),
        ("10.0.0.1", "10.0.0.1", None),
        ("192.168.1.1", "192.168.1.1", None),
        ("100.64.0.1", "100.64.0.1", None),
        ("169.254.1.1", "169.254.1.1", None),
        ("255.255.255.255", "255.255.255.255", None),
        ("fe80::1", "fe80::1", None),
        ("fd00::1", "fd00::1", None),
    ] {
        assert_eq!(found(&none, words, dst_ip).as_deref(), token, "{dst_ip}");
    }
}

#[test]
fn what_is_too_short_or_anybodys_is_not_looked_for() {
    for (token, looked_for) in [
        ("mx1", false),
        ("mx17", true),
        ("127.0.0.1", false),
        ("::1", false),
        ("::", false),
        ("::ffff:127.0.0.1", false),
        ("192.168.1.1", true),
    ] {
        assert_eq!(is_looked_for(token), looked_for, "{token}");
        let tokens = tokens(&[token], "");
        assert_eq!(found(&tokens, token, "").is_some(), looked_for, "{token}");
    }
    for hostname in ["mx", "server", "localhost", "localhost.localdomain", ""] {
        let tokens = tokens(&[], hostname);
        assert_eq!(found(&tokens, hostname, ""), None, "{hostname}");
    }
    // The characters of a short word might be any number, an address without a letter a date.
    let tokens = tokens(&["mx17", "32.36.3.18"], "");
    for words in ["6d783137", "bXgxNw==", "20240312"] {
        assert_eq!(found(&tokens, words, ""), None, "{words}");
    }
    assert!(found(&tokens, "0x20240312", "").is_some());
}

#[test]
fn of_a_large_body_both_ends_are_searched() {
    let tokens = tokens(&[], HOST);
    let filler = " lorem".repeat(BODY_MAX / 6);
    for (before, behind, seen) in [
        ("", filler.as_str(), true),
        (filler.as_str(), "", true),
        (filler.as_str(), filler.as_str(), false),
    ] {
        let words = format!("{before} {HOST} {behind}");
        assert!(words.len() > BODY_MAX);
        assert_eq!(found(&tokens, &words, "").is_some(), seen);
    }
    let exact = format!("{HOST} {}", "x".repeat(BODY_MAX - HOST.len() - 1));
    assert_eq!(exact.len(), BODY_MAX);
    assert!(found(&tokens, &exact, "").is_some());
}
