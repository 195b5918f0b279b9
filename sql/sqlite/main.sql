-- The main store, Shiva: every distinct spam of all windows.
-- Tables and columns of the first SHIVA keep their names, so that a query written for them
-- still gives what it gave. Times are UTC, YYYY-MM-DD HH:MM:SS.

CREATE TABLE schema_version (version INTEGER NOT NULL);

-- Windows taken in: taking one in twice changes nothing.
CREATE TABLE windows_taken (
    analyzer TEXT NOT NULL,
    window INTEGER NOT NULL,
    token TEXT NOT NULL,
    taken TEXT NOT NULL,
    PRIMARY KEY (analyzer, window, token)
) WITHOUT ROWID;

-- seq numbers the records in the order they came in.
CREATE TABLE spam (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    "from" TEXT,
    subject TEXT,
    "to" TEXT,
    textMessage TEXT,
    htmlMessage TEXT,
    totalCounter INTEGER NOT NULL,
    ssdeep TEXT,
    headers TEXT,
    length INTEGER NOT NULL,
    bodyChars INTEGER NOT NULL,
    user TEXT,
    sample TEXT
);
CREATE INDEX spam_counter ON spam (totalCounter);

CREATE TABLE sdate (
    id INTEGER PRIMARY KEY,
    date TEXT,
    firstSeen TEXT,
    lastSeen TEXT,
    todaysCounter INTEGER
);
CREATE TABLE sdate_spam (
    id INTEGER PRIMARY KEY,
    spam_id TEXT,
    date_id INTEGER
);
CREATE INDEX sdate_spam_spam ON sdate_spam (spam_id);

CREATE TABLE ip (
    id INTEGER PRIMARY KEY,
    date TEXT,
    sourceIP TEXT
);
CREATE INDEX ip_source ON ip (sourceIP);
CREATE TABLE ip_spam (
    id INTEGER PRIMARY KEY,
    ip_id INTEGER,
    spam_id TEXT
);
CREATE INDEX ip_spam_spam ON ip_spam (spam_id, ip_id);

CREATE TABLE sensor (
    id INTEGER PRIMARY KEY,
    date TEXT,
    sensorID TEXT
);
CREATE INDEX sensor_sensor ON sensor (sensorID);
CREATE TABLE sensor_spam (
    id INTEGER PRIMARY KEY,
    sensor_id INTEGER,
    spam_id TEXT
);
CREATE INDEX sensor_spam_spam ON sensor_spam (spam_id, sensor_id);

CREATE TABLE links (
    id INTEGER PRIMARY KEY,
    date TEXT,
    hyperLink TEXT,
    spam_id TEXT
);
CREATE INDEX links_spam ON links (spam_id, hyperLink);
CREATE INDEX links_link ON links (hyperLink);

CREATE TABLE attachment (
    id INTEGER PRIMARY KEY,
    date TEXT,
    md5 TEXT,
    attachment_file_name TEXT,
    attachment_file_path TEXT,
    attachment_file_type TEXT,
    spam_id TEXT,
    sha256 TEXT,
    size INTEGER
);
CREATE INDEX attachment_spam ON attachment (spam_id, sha256);
CREATE INDEX attachment_sha256 ON attachment (sha256);

CREATE TABLE inline (
    id INTEGER PRIMARY KEY,
    date TEXT,
    md5 TEXT,
    inline_file_name TEXT,
    inline_file_path TEXT,
    inline_file_type TEXT,
    spam_id TEXT,
    sha256 TEXT,
    size INTEGER
);
CREATE INDEX inline_spam ON inline (spam_id, sha256);
CREATE INDEX inline_sha256 ON inline (sha256);

CREATE TABLE relay (
    id INTEGER PRIMARY KEY,
    date TEXT,
    firstRelayed TEXT,
    lastRelayed TEXT,
    totalRelayed INTEGER DEFAULT 0,
    spam_id TEXT,
    sensorID TEXT
);
CREATE INDEX relay_spam ON relay (spam_id);

-- Every copy that was given a slot to be relayed, whatever became of it. recipients are apart by a
-- space.
CREATE TABLE relay_log (
    id INTEGER PRIMARY KEY,
    spam_id TEXT NOT NULL,
    name TEXT NOT NULL,
    taken TEXT NOT NULL,
    settled TEXT,
    fate TEXT NOT NULL,
    answer TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    sourceIP TEXT NOT NULL,
    sensorID TEXT NOT NULL
);
CREATE INDEX relay_log_spam ON relay_log (spam_id);
CREATE INDEX relay_log_taken ON relay_log (taken);

CREATE TABLE unrelayed (
    date TEXT NOT NULL,
    reason TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (date, reason)
) WITHOUT ROWID;

-- The recipients of probe in one row, as the first SHIVA had them: the latest of them.
CREATE TABLE whitelist (
    id INTEGER PRIMARY KEY,
    recipients TEXT
);

-- Recipients that tests of the relay were sent to, and the clients that sent them.
CREATE TABLE probe (
    recipient TEXT PRIMARY KEY,
    firstSeen TEXT NOT NULL,
    lastSeen TEXT NOT NULL,
    counter INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX probe_last ON probe (lastSeen);
CREATE TABLE probe_source (
    recipient TEXT NOT NULL,
    sourceIP TEXT NOT NULL,
    firstSeen TEXT NOT NULL,
    PRIMARY KEY (recipient, sourceIP)
) WITHOUT ROWID;

-- The sets that grew inside one column, each value a row.
CREATE TABLE recipient_spam (
    id INTEGER PRIMARY KEY,
    date TEXT,
    recipient TEXT NOT NULL,
    spam_id TEXT NOT NULL
);
CREATE UNIQUE INDEX recipient_spam_spam ON recipient_spam (spam_id, recipient);
CREATE TABLE user_spam (
    id INTEGER PRIMARY KEY,
    date TEXT,
    user TEXT NOT NULL,
    spam_id TEXT NOT NULL
);
CREATE UNIQUE INDEX user_spam_spam ON user_spam (spam_id, user);

CREATE TABLE undeliverable (
    date TEXT NOT NULL,
    reason TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (date, reason)
) WITHOUT ROWID;

INSERT INTO schema_version VALUES (1);
