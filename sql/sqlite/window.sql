-- The window store, ShivaTemp: what the analyzer knows of the open window, of closed windows
-- that wait to be taken into the main store, and of the queue files it has counted.
-- The columns of the first SHIVA keep their names; window numbers the window a row belongs to.
-- Times are UTC, YYYY-MM-DD HH:MM:SS.

CREATE TABLE schema_version (version INTEGER NOT NULL);

-- One row: who we are in the main store's list of windows taken in, and the id of the queue whose
-- files are counted here.
CREATE TABLE analyzer (name TEXT NOT NULL, queue TEXT);

-- closed IS NULL: the open window. There is always exactly one. token is drawn when it is opened.
CREATE TABLE windows (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL,
    opened TEXT NOT NULL,
    closed TEXT
);

-- Queue files counted but perhaps not yet unlinked: the memory of "exactly once".
CREATE TABLE queue_files (name TEXT PRIMARY KEY) WITHOUT ROWID;

-- seq numbers the records of a window in the order first seen, from 0. While a window is open its
-- counters are in days; totalCounter, firstSeen and lastSeen are brought up to date at its close.
CREATE TABLE spam (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    ssdeep TEXT,
    "to" TEXT,
    "from" TEXT,
    textMessage TEXT,
    htmlMessage TEXT,
    subject TEXT,
    headers TEXT,
    sourceIP TEXT,
    sensorID TEXT,
    firstSeen TEXT NOT NULL,
    lastSeen TEXT NOT NULL,
    relayCounter INTEGER NOT NULL DEFAULT 0,
    relayTime TEXT,
    totalCounter INTEGER NOT NULL,
    length INTEGER NOT NULL,
    bodyChars INTEGER NOT NULL,
    hasText INTEGER NOT NULL,
    user TEXT,
    sample TEXT,
    PRIMARY KEY (window, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX spam_id ON spam (window, id);

CREATE TABLE attachments (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    file_name TEXT NOT NULL,
    attach_type TEXT NOT NULL,
    attachment_file_path TEXT,
    attachmentFileMd5 TEXT,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, sha256, file_name, attach_type)
) WITHOUT ROWID;

CREATE TABLE links (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    hyperlink TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, hyperlink)
) WITHOUT ROWID;

CREATE TABLE sensors (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    sensorID TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, sensorID)
) WITHOUT ROWID;

CREATE TABLE sources (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    sourceIP TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, sourceIP)
) WITHOUT ROWID;

CREATE TABLE recipients (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, recipient)
) WITHOUT ROWID;

CREATE TABLE users (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    user TEXT NOT NULL,
    date TEXT NOT NULL,
    PRIMARY KEY (window, seq, user)
) WITHOUT ROWID;

CREATE TABLE days (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    date TEXT NOT NULL,
    firstSeen TEXT NOT NULL,
    lastSeen TEXT NOT NULL,
    todaysCounter INTEGER NOT NULL,
    PRIMARY KEY (window, seq, date)
) WITHOUT ROWID;

CREATE TABLE undeliverable (
    window INTEGER NOT NULL,
    date TEXT NOT NULL,
    reason TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (window, date, reason)
) WITHOUT ROWID;

-- Copies that were given a slot to be relayed. A slot is taken in the transaction of the batch, before
-- the attempt; settled IS NULL: under way. recipients are apart by a space.
CREATE TABLE relays (
    window INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    spam_id TEXT NOT NULL,
    name TEXT NOT NULL,
    taken TEXT NOT NULL,
    settled TEXT,
    fate TEXT NOT NULL,
    answer TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    sourceIP TEXT NOT NULL,
    sensorID TEXT NOT NULL,
    PRIMARY KEY (window, seq, name)
) WITHOUT ROWID;
CREATE INDEX relays_under_way ON relays (window) WHERE settled IS NULL;

CREATE TABLE unrelayed (
    window INTEGER NOT NULL,
    date TEXT NOT NULL,
    reason TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (window, date, reason)
) WITHOUT ROWID;

-- Recipients that tests of the relay were sent to, and the clients that sent them.
CREATE TABLE probes (
    window INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    sourceIP TEXT NOT NULL,
    firstSeen TEXT NOT NULL,
    lastSeen TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (window, recipient, sourceIP)
) WITHOUT ROWID;

INSERT INTO schema_version VALUES (1);
