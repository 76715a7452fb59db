-- A row for each change. Ids are bytes: no collation makes two of them equal, no padding
-- either.
CREATE TABLE IF NOT EXISTS {journal_change} (
	tid           BIGINT          NOT NULL AUTO_INCREMENT,
	seq           INTEGER         NOT NULL, -- place in the transaction
	changes       INTEGER         NOT NULL, -- how many the transaction has; 0: nobody can commit one with this tid any more
	commit_id     VARBINARY(64)   NOT NULL, -- of the transaction, random
	origin        VARBINARY(64)   NOT NULL, -- of the process that committed it
	realm         VARBINARY(64)   NOT NULL,
	id            VARBINARY(1000) NOT NULL,
	"change"      VARBINARY(100)  NOT NULL,
	time          BIGINT          NOT NULL, -- microseconds since 1970, UTC
	author        LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	ipnr          LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	authenticated INTEGER         NOT NULL,
	env           VARBINARY(1000),          -- null: the bus's own
	comment       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	parts         BIGINT          NOT NULL, -- which parts are null or absent
	session       BIGINT          NOT NULL DEFAULT 0, -- the connection that wrote the transaction's first row
	document      LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, -- JSON: the fields that changed, and the state of those that did not
	PRIMARY KEY (tid, seq),
	INDEX (realm, id, tid)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- A transaction up to which all are decided, as far as somebody has noted one.
CREATE TABLE IF NOT EXISTS {journal_decided} (
	one       INTEGER       NOT NULL PRIMARY KEY,
	tid       BIGINT        NOT NULL,
	commit_id VARBINARY(64) NOT NULL -- of that
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_decided} VALUES (1, 0, '');

-- A row for each number that resources are locked by.
CREATE TABLE IF NOT EXISTS {journal_lock} (
	slot INTEGER NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_lock}
SELECT a.d + 8 * b.d + 64 * c.d + 512 * e.d FROM
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) a,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) b,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) c,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) e;

-- A row for each durable consumer.
CREATE TABLE IF NOT EXISTS {journal_consumer} (
	name       VARBINARY(64)  NOT NULL PRIMARY KEY,
	tid        BIGINT         NOT NULL, -- the last transaction that was handled
	commit_id  VARBINARY(64)  NOT NULL, -- of that
	seq        INTEGER        NOT NULL, -- the last change of it that was handled, if partial is 1; else -1
	partial    INTEGER        NOT NULL, -- 1: it has more changes after seq
	token      BIGINT         NOT NULL, -- the fencing token: rises when the lease is acquired
	heartbeat  BIGINT         NOT NULL, -- rises with each statement of the holder
	holder     VARBINARY(200) NOT NULL, -- empty: nobody
	leased_at  BIGINT         NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires    BIGINT         NOT NULL,
	generation BIGINT         NOT NULL, -- of what is kept outside; -1: not known
	failing    BIGINT         NOT NULL, -- since when; 0: it works
	error      TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL -- of the last call; empty: none
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {journal_dead_letter} (
	name      VARBINARY(64)   NOT NULL, -- of the consumer
	tid       BIGINT          NOT NULL,
	seq       INTEGER         NOT NULL,
	commit_id VARBINARY(64)   NOT NULL,
	realm     VARBINARY(64)   NOT NULL,
	id        VARBINARY(1000) NOT NULL,
	error     TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	attempts  INTEGER         NOT NULL,
	since     BIGINT          NOT NULL, -- microseconds since 1970, by the clock of the database
	redeliver INTEGER         NOT NULL, -- 1: the consumer is to be called with it again
	PRIMARY KEY (name, tid, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Which changes of a transaction that its application began still hold, after savepoints were
-- rolled back to. A row is removed before the commit: one that others see is of a transaction that
-- was committed without Flush.
CREATE TABLE IF NOT EXISTS {journal_mark} (
	commit_id VARBINARY(64) NOT NULL PRIMARY KEY,
	marks     LONGBLOB      NOT NULL -- numbers, such as 1-5,8
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Last, for its row says that the others are there.
CREATE TABLE IF NOT EXISTS {journal_facts} (
	one            INTEGER       NOT NULL PRIMARY KEY,
	uuid           VARBINARY(64) NOT NULL, -- names this journal
	schema_version INTEGER       NOT NULL,
	lock_class     INTEGER       NOT NULL, -- not used here
	floor          BIGINT        NOT NULL  -- changes up to this tid are pruned
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_facts} VALUES (1, uuid(), 3, 0, 0);
