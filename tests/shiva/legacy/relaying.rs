//! What the first SHIVA relayed, and to whom.

use shiva::store::mysql::Mysql;
use shiva::store::{Batch, Day, Engine, ProbeSeen};
use shiva::timestamp::Timestamp;

use super::old::Old;
use crate::mariadb::MariaDb;

/// What stands in the old `whitelist`, but for the value that has no end.
const RECIPIENTS: [&str; 5] = [
    "1234567@x.example",
    "a@x.example",
    "b@x.example",
    "c@x.example",
    "d@x.example",
];

/// The recipients that are known, without the value that has no end.
fn known(engine: &Mysql) -> Vec<String> {
    let all = engine.main().unwrap().probe_recipients(100).unwrap();
    let (cut, mut whole): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|recipient| recipient.starts_with('é'));
    assert!(
        cut.len() == 1 && cut[0].ends_with("[cut by SHIVA]"),
        "{cut:?}"
    );
    whole.sort();
    whole
}

#[test]
fn recipients_of_old_stay_known_when_new_ones_come() {
    let old = Old::new(MariaDb::shared());
    let whitelist = || {
        let rows = old.rows(&old.main, "SELECT recipients FROM whitelist ORDER BY id");
        let text = |row: Vec<mysql::Value>| mysql::from_value::<Option<String>>(row[0].clone());
        rows.into_iter().map(text).collect::<Vec<_>>()
    };
    let before = whitelist();
    let said = old.upgrade();
    assert!(said.contains("probe: 6 recipients added"), "{said}");
    let engine = Mysql::new(old.databases.options());
    assert_eq!(known(&engine), RECIPIENTS);
    assert_eq!(whitelist(), before);

    let probe = ProbeSeen {
        recipient: "new@x.example".into(),
        source: "192.0.2.1".into(),
        seen: Day::once(Timestamp::from_seconds(4_000_000_000, 0)),
    };
    let batch = Batch {
        window: 2,
        probes: vec![probe],
        ..Batch::default()
    };
    engine.windows().unwrap().commit(&batch).unwrap();
    old.rig.once();
    let after = whitelist();
    let first = after[0].as_deref().unwrap();
    assert!(
        first.starts_with("new@x.example,1234567@x.example,a@x.example,b@x.example,"),
        "{first}"
    );
    assert_eq!(after[1..], before[1..]);
    let mut expected = RECIPIENTS.to_vec();
    expected.push("new@x.example");
    assert_eq!(known(&engine), expected);
}

#[test]
fn what_the_stopped_analyzer_had_relayed_is_counted() {
    let old = Old::new(MariaDb::shared());
    let number = |database: &str, query: &str| -> u64 {
        old.value(database, query).unwrap().parse().unwrap()
    };
    let waiting = number(&old.window, "SELECT SUM(relayCounter) FROM spam");
    let relayed = number(&old.main, "SELECT SUM(totalRelayed) FROM relay");
    assert!(waiting > 0 && relayed > 0);
    old.upgrade();
    assert_eq!(old.rig.total("relayed"), relayed + waiting);

    old.rig.once();
    assert_eq!(old.rig.total("relayed"), relayed + waiting);
    let taken = "SELECT SUM(totalRelayed) FROM relay";
    assert_eq!(number(&old.main, taken), relayed + waiting);
    let engine = Mysql::new(old.databases.options());
    let line = engine.reader().unwrap().relays(1).unwrap().remove(0).relay;
    assert_eq!(line.answer, "relayed by the first SHIVA");
    assert!(line.recipients.is_empty(), "{:?}", line.recipients);
}
