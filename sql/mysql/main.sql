-- The main store, Shiva: every distinct spam of all windows. MariaDB 10.11 or MySQL 8.
--
-- Tables and columns of the first SHIVA keep their names, so that a query written for them still
-- gives what it gave. For the same reason the text that people search compares without regard to
-- case (utf8mb4_general_ci), as it did. All else compares as bytes; values that may end in spaces
-- are told apart by hash, the first 16 bytes of the SHA-256 of the value's bytes:
-- UNHEX(LEFT(SHA2(value, 256), 32)). Times are UTC.
--
-- Where a table had columns in the first SHIVA, they stand first and in their order. In rows that
-- came from it any column but a key may be NULL, and a date may be 0000-00-00; sha256 and size of
-- a part are NULL there, and md5 tells its content.
--
-- shiva-dbcreate executes these statements one by one in the database it made. It reads them,
-- too: an older table is compared with them column by column, key by key. So each column and each
-- key stands on a line of its own, and every statement can be executed again.

CREATE TABLE IF NOT EXISTS schema_version (
    version INT NOT NULL PRIMARY KEY
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Windows taken in: taking one in twice changes nothing.
CREATE TABLE IF NOT EXISTS windows_taken (
    analyzer VARCHAR(255) NOT NULL,
    `window` BIGINT UNSIGNED NOT NULL,
    token CHAR(16) NOT NULL,
    taken DATETIME NOT NULL,
    PRIMARY KEY (analyzer, `window`, token)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row, locked FOR UPDATE by whoever takes a window in.
CREATE TABLE IF NOT EXISTS taking_in (
    id INT NOT NULL PRIMARY KEY
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- seq numbers the records in the order they came in.
CREATE TABLE IF NOT EXISTS spam (
    id CHAR(32) NOT NULL,
    `from` VARCHAR(4096) COLLATE utf8mb4_general_ci NULL,
    subject VARCHAR(4096) COLLATE utf8mb4_general_ci NULL,
    `to` LONGTEXT COLLATE utf8mb4_general_ci NULL,
    textMessage MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    htmlMessage MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    totalCounter BIGINT NULL,
    ssdeep VARCHAR(255) NULL,
    headers MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    length BIGINT NULL,
    user TEXT COLLATE utf8mb4_general_ci NULL,
    seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    bodyChars BIGINT NOT NULL DEFAULT 0,
    sample TEXT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY spam_seq (seq),
    KEY spam_counter (totalCounter)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sdate (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    firstSeen DATETIME NULL,
    lastSeen DATETIME NULL,
    todaysCounter BIGINT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sdate_spam (
    id BIGINT NOT NULL AUTO_INCREMENT,
    spam_id CHAR(64) NULL,
    date_id BIGINT NULL,
    PRIMARY KEY (id),
    KEY sdate_spam_spam (spam_id, date_id),
    KEY sdate_spam_date (date_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ip (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    sourceIP VARCHAR(1024) NULL,
    PRIMARY KEY (id),
    KEY ip_source (sourceIP(64))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ip_spam (
    id BIGINT NOT NULL AUTO_INCREMENT,
    ip_id BIGINT NULL,
    spam_id CHAR(32) NULL,
    PRIMARY KEY (id),
    KEY ip_spam_spam (spam_id, ip_id),
    KEY ip_spam_ip (ip_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sensor (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    sensorID VARCHAR(1024) NULL,
    PRIMARY KEY (id),
    KEY sensor_sensor (sensorID(191))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sensor_spam (
    id BIGINT NOT NULL AUTO_INCREMENT,
    sensor_id BIGINT NULL,
    spam_id CHAR(32) NULL,
    PRIMARY KEY (id),
    KEY sensor_spam_spam (spam_id, sensor_id),
    KEY sensor_spam_sensor (sensor_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS links (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    hyperLink VARCHAR(8192) COLLATE utf8mb4_general_ci NULL,
    spam_id CHAR(32) NULL,
    hash BINARY(16) NULL,
    PRIMARY KEY (id),
    KEY links_spam (spam_id, hash),
    KEY links_hash (hash),
    KEY links_link (hyperLink(191))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS attachment (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    md5 CHAR(32) COLLATE utf8mb4_general_ci NULL,
    attachment_file_name VARCHAR(1024) COLLATE utf8mb4_general_ci NULL,
    attachment_file_path MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    attachment_file_type VARCHAR(256) COLLATE utf8mb4_general_ci NULL,
    spam_id CHAR(32) NULL,
    sha256 CHAR(64) NULL,
    size BIGINT UNSIGNED NULL,
    PRIMARY KEY (id),
    KEY attachment_spam (spam_id, sha256),
    KEY attachment_sha256 (sha256),
    KEY attachment_md5 (md5)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS inline (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    md5 CHAR(32) COLLATE utf8mb4_general_ci NULL,
    inline_file_name VARCHAR(1024) COLLATE utf8mb4_general_ci NULL,
    inline_file_path MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    spam_id CHAR(32) NULL,
    inline_file_type VARCHAR(256) COLLATE utf8mb4_general_ci NULL,
    sha256 CHAR(64) NULL,
    size BIGINT UNSIGNED NULL,
    PRIMARY KEY (id),
    KEY inline_spam (spam_id, sha256),
    KEY inline_sha256 (sha256),
    KEY inline_md5 (md5)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS relay (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    firstRelayed DATETIME NULL,
    lastRelayed DATETIME NULL,
    totalRelayed BIGINT NULL DEFAULT 0,
    spam_id CHAR(32) NULL,
    sensorID VARCHAR(1024) NULL,
    PRIMARY KEY (id),
    KEY relay_spam (spam_id, date)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Every copy that was given a slot to be relayed, whatever became of it. recipients are apart by
-- a space.
CREATE TABLE IF NOT EXISTS relay_log (
    id BIGINT NOT NULL AUTO_INCREMENT,
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
    PRIMARY KEY (id),
    KEY relay_log_spam (spam_id),
    KEY relay_log_taken (taken, name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS unrelayed (
    date DATE NOT NULL,
    reason VARCHAR(64) NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (date, reason)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Row 1 names the latest recipients of probe, once there are any of ours. Until then, and in any
-- other row, it is the first SHIVA's.
CREATE TABLE IF NOT EXISTS whitelist (
    id BIGINT NOT NULL AUTO_INCREMENT,
    recipients MEDIUMTEXT COLLATE utf8mb4_general_ci NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Recipients that tests of the relay were sent to, and the clients that sent them. Those that the
-- first SHIVA had in whitelist have no client, and counter is 0.
CREATE TABLE IF NOT EXISTS probe (
    recipient VARCHAR(1024) NOT NULL,
    firstSeen DATETIME NOT NULL,
    lastSeen DATETIME NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (hash),
    KEY probe_last (lastSeen)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- hash is that of recipient, sourceHash that of sourceIP.
CREATE TABLE IF NOT EXISTS probe_source (
    recipient VARCHAR(1024) NOT NULL,
    sourceIP VARCHAR(1024) NOT NULL,
    firstSeen DATETIME NOT NULL,
    hash BINARY(16) NOT NULL,
    sourceHash BINARY(16) NOT NULL,
    PRIMARY KEY (hash, sourceHash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The sets that grew inside one column, each value a row.
CREATE TABLE IF NOT EXISTS recipient_spam (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    recipient VARCHAR(1024) NOT NULL,
    spam_id CHAR(32) NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY recipient_spam_spam (spam_id, hash),
    KEY recipient_spam_recipient (recipient(191))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS user_spam (
    id BIGINT NOT NULL AUTO_INCREMENT,
    date DATE NULL,
    user VARCHAR(1024) NOT NULL,
    spam_id CHAR(32) NOT NULL,
    hash BINARY(16) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY user_spam_spam (spam_id, hash),
    KEY user_spam_user (user(191))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS undeliverable (
    date DATE NOT NULL,
    reason TEXT NOT NULL,
    hash BINARY(16) NOT NULL,
    counter BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (date, hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO taking_in (id) VALUES (1);
