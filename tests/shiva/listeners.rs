//! Where the receiver listens: several hosts and ports, both families, and what stands in the way.

use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::rig::{Client, Rig, Service, finish, free_port, wait_until};

#[test]
fn every_host_goes_with_every_port_and_the_envelope_says_which_it_was() {
    let submission = free_port();
    let rig = Rig::with("");
    let port = rig.port;
    // 203.0.113.1 is nobody's (RFC 5737).
    let keys = format!(
        "[receiver]\nlistenhost : 127.0.0.1, 127.0.0.2, 127.0.0.1, 203.0.113.1\n\
         listenport : {port}, {submission}\n"
    );
    rig.configure(&keys);
    let receiver = Service::logging(rig.command("shiva-receiver"), &rig.path("log"));
    let log = || fs::read_to_string(rig.path("log")).unwrap();
    wait_until("all listen", || {
        log().matches("event=receiver.listening").count() == 4
    });
    for port in [port, submission] {
        assert!(log().contains(&format!(
            "receiver.address_lacking address=203.0.113.1:{port} "
        )));
        for host in ["127.0.0.1", "127.0.0.2"] {
            let mut client = Client::over(TcpStream::connect((host, port)).unwrap());
            let subject = format!("Subject: {host} {port}\r\n\r\nx\r\n");
            let reply = client.mail("a@b", "c@d", subject.as_bytes()).unwrap();
            assert!(reply.starts_with("250 "), "{reply}");
        }
    }
    let queue = rig.queue();
    assert_eq!(queue.len(), 4);
    for file in queue {
        let text = fs::read_to_string(file).unwrap();
        let (envelope, message) = text.split_once("\r\n").unwrap();
        let to = message
            .lines()
            .next()
            .unwrap()
            .split(' ')
            .collect::<Vec<_>>();
        let (host, port) = (to[1], to[2]);
        let said = format!("\"dst_ip\":\"{host}\",\"dst_port\":{port}");
        assert!(envelope.contains(&said), "{envelope}");
    }
    receiver.stop();
}

#[test]
fn both_colons_are_every_address_of_both_families() {
    let rig = Rig::with("");
    rig.configure("[receiver]\nlistenhost : ::, 0.0.0.0, ::1, localhost\n");
    let _receiver = rig.receiver();
    rig.client();
    match TcpListener::bind("[::1]:0") {
        Ok(_) => {
            let address = (std::net::Ipv6Addr::LOCALHOST, rig.port);
            Client::over(TcpStream::connect(address).unwrap());
        }
        Err(error) => println!("this machine has no IPv6: {error}"),
    }
}

#[test]
fn one_taken_port_among_several_ends_the_receiver_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let rig = Rig::with("");
    rig.configure(&format!("[receiver]\nlistenport : {}, {port}\n", rig.port));
    let output = finish(&mut rig.command("shiva-receiver"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    let what = format!("cannot listen on 127.0.0.1:{port}: ");
    assert!(
        errors.contains(&what) && errors.contains("`ss -ltnp`"),
        "{errors}"
    );
    assert!(!errors.contains("event=receiver.listening"), "{errors}");
}

#[test]
fn a_receiver_without_any_address_of_its_own_ends() {
    let rig = Rig::with("[receiver]\nlistenhost : 203.0.113.1, 203.0.113.2\n");
    let output = finish(&mut rig.command("shiva-receiver"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("cannot listen on 203.0.113.1:"), "{errors}");
}
