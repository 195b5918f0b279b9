-- The window store, ShivaTemp: what the analyzer knows of the open window, of closed windows that
-- wait to be taken into the main store, and of the queue files it has counted.
--
-- The columns of the first SHIVA keep their names; window numbers the window a row belongs to.
-- Text compares as bytes; values are told apart by hash, the first 16 bytes of the SHA-256 of the
-- value's bytes: UNHEX(LEFT(SHA2(value, 256), 32)). Times are UTC.
--
-- shiva-dbcreate executes these statements one by one in the database it made; every one can be
-- executed again.

CREATE TABLE IF NOT EXISTS schema_version (
    version INT NOT NULL PRIMARY KEY
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row: who we are in the main store's list of windows taken in, and the id of the queue whose
-- files are counted here.
CREATE TABLE IF NOT EXISTS analyzer (
    name VARCHAR(255) NOT NULL PRIMARY KEY,
    queue CHAR(16) NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- closed IS NULL: the open window. There is always exactly one. token is drawn when it is opened.
CREATE TABLE IF NOT EXISTS windows (
    number BIGINT UNSIGNED NOT NULL,
    token CHAR(16) NOT NULL,
    opened DATETIME NOT NULL,
    closed DATETIME NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Queue files counted but perhaps not yet unlinked: the memory of "exactly once".
CREATE TABLE IF NOT EXISTS queue_files (
    name VARCHAR(255) NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- seq numbers the records of a window in the order first seen, from 0. While a window is open its
-- counters are in days; totalCounter, firstSeen and lastSeen are brought up to date at its close.
CREATE TABLE IF NOT EXISTS spam (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    id CHAR(32) NOT NULL,
    ssdeep VARCHAR(255) NULL,
    `to` LONGTEXT NULL,
    `from` VARCHAR(4096) NULL,
    textMessage MEDIUMTEXT NULL,
    htmlMessage MEDIUMTEXT NULL,
    subject VARCHAR(4096) NULL,
    headers MEDIUMTEXT NULL,
    sourceIP TEXT NULL,
    sensorID TEXT NULL,
    firstSeen DATETIME NOT NULL,
    lastSeen DATETIME NOT NULL,
    relayCounter BIGINT UNSIGNED NOT NULL DEFAULT 0,
    relayTime DATETIME NULL,
    totalCounter BIGINT UNSIGNED NOT NULL,
    length BIGINT UNSIGNED NOT NULL,
    bodyChars BIGINT UNSIGNED NOT NULL,
    hasText BOOLEAN NOT NULL,
    user TEXT NULL,
    sample TEXT NULL,
    PRIMARY KEY (`window`, seq),
    UNIQUE KEY spam_id (`window`, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- hash is that of file_name. In rows that came from the first SHIVA sha256 is empty and size 0;
-- attachmentFileMd5 tells the content, and hash is that of both.
CREATE TABLE IF NOT EXISTS attachments (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    file_name VARCHAR(1024) NOT NULL,
    attach_type VARCHAR(12) NOT NULL,
    attachment_file_path MEDIUMTEXT NULL,
    attachmentFileMd5 CHAR(32) NULL,
    sha256 CHAR(64) NOT NULL,
    size BIGINT UNSIGNED NOT NULL,
    media_type VARCHAR(256) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, sha256, attach_type, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS links (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    hyperlink VARCHAR(8192) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sensors (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    sensorID VARCHAR(1024) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sources (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    sourceIP VARCHAR(1024) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS recipients (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    recipient VARCHAR(1024) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    user VARCHAR(1024) NOT NULL,
    date DATE NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, seq, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS days (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    date DATE NOT NULL,
    firstSeen DATETIME NOT NULL,
    lastSeen DATETIME NOT NULL,
    todaysCounter BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (`window`, seq, date)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS undeliverable (
    `window` BIGINT UNSIGNED NOT NULL,
    date DATE NOT NULL,
    reason TEXT NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, date, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Copies that were given a slot to be relayed. A slot is taken in the transaction of the batch,
-- before the attempt; settled IS NULL: under way. recipients are apart by a space.
CREATE TABLE IF NOT EXISTS relays (
    `window` BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    spam_id CHAR(32) NOT NULL,
    name VARCHAR(255) NOT NULL,
    taken DATETIME NOT NULL,
    settled DATETIME NULL,
    fate VARCHAR(12) NOT NULL,
    answer VARCHAR(1024) NOT NULL,
    sender VARCHAR(1024) NOT NULL,
    recipients MEDIUMTEXT NOT NULL,
    sourceIP VARCHAR(1024) NOT NULL,
    sensorID VARCHAR(1024) NOT NULL,
    PRIMARY KEY (`window`, seq, name),
    KEY relays_settled (settled, `window`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS unrelayed (
    `window` BIGINT UNSIGNED NOT NULL,
    date DATE NOT NULL,
    reason VARCHAR(64) NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (`window`, date, reason)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Recipients that tests of the relay were sent to, and the clients that sent them. hash is that of
-- recipient, sourceHash that of sourceIP.
CREATE TABLE IF NOT EXISTS probes (
    `window` BIGINT UNSIGNED NOT NULL,
    recipient VARCHAR(1024) NOT NULL,
    sourceIP VARCHAR(1024) NOT NULL,
    firstSeen DATETIME NOT NULL,
    lastSeen DATETIME NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    hash BINARY(16) NOT NULL,
    sourceHash BINARY(16) NOT NULL,
    PRIMARY KEY (`window`, hash, sourceHash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
