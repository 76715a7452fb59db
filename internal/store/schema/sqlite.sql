CREATE TABLE {journal_facts} (
	one            INTEGER PRIMARY KEY CHECK (one = 1),
	uuid           TEXT    NOT NULL, -- names this journal
	schema_version INTEGER NOT NULL,
	lock_class     INTEGER NOT NULL, -- not used here
	floor          INTEGER NOT NULL  -- changes up to this tid are pruned
);

INSERT INTO {journal_facts} VALUES (1, lower(hex(randomblob(16))), 3, 0, 0);

-- A row for each change. A new tid is above all that are here, and pruning keeps the last.
CREATE TABLE {journal_change} (
	tid           INTEGER NOT NULL,
	seq           INTEGER NOT NULL, -- place in the transaction
	changes       INTEGER NOT NULL, -- how many the transaction has
	commit_id     TEXT    NOT NULL, -- of the transaction, random
	origin        TEXT    NOT NULL, -- of the process that committed it
	realm         TEXT    NOT NULL,
	id            TEXT    NOT NULL,
	change        TEXT    NOT NULL,
	time          INTEGER NOT NULL, -- microseconds since 1970, UTC
	author        TEXT    NOT NULL,
	ipnr          TEXT    NOT NULL,
	authenticated INTEGER NOT NULL,
	env           TEXT,             -- null: the bus's own
	comment       TEXT    NOT NULL,
	parts         INTEGER NOT NULL, -- which parts are null or absent
	document      TEXT    NOT NULL, -- JSON: the fields that changed, and the state of those that did not
	PRIMARY KEY (tid, seq)
) WITHOUT ROWID;

CREATE INDEX journal_change_id ON {journal_change} (realm, id, tid);

-- A row for each durable consumer.
CREATE TABLE {journal_consumer} (
	name       TEXT    NOT NULL PRIMARY KEY,
	tid        INTEGER NOT NULL, -- the last transaction that was handled
	commit_id  TEXT    NOT NULL, -- of that
	seq        INTEGER NOT NULL, -- the last change of it that was handled, if partial is 1; else -1
	partial    INTEGER NOT NULL, -- 1: it has more changes after seq
	token      INTEGER NOT NULL, -- the fencing token: rises when the lease is acquired
	heartbeat  INTEGER NOT NULL, -- rises with each statement of the holder
	holder     TEXT    NOT NULL, -- empty: nobody
	leased_at  INTEGER NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires    INTEGER NOT NULL,
	generation INTEGER NOT NULL, -- of what is kept outside; -1: not known
	failing    INTEGER NOT NULL, -- since when; 0: it works
	error      TEXT    NOT NULL  -- of the last call; empty: none
);

CREATE TABLE {journal_dead_letter} (
	name      TEXT    NOT NULL, -- of the consumer
	tid       INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	commit_id TEXT    NOT NULL,
	realm     TEXT    NOT NULL,
	id        TEXT    NOT NULL,
	error     TEXT    NOT NULL,
	attempts  INTEGER NOT NULL,
	since     INTEGER NOT NULL, -- microseconds since 1970, by the clock of the database
	redeliver INTEGER NOT NULL, -- 1: the consumer is to be called with it again
	PRIMARY KEY (name, tid, seq)
);

-- Which changes of a transaction that its application began still hold, after savepoints were
-- rolled back to. A row is removed before the commit: one that others see is of a transaction that
-- was committed without Flush.
CREATE TABLE IF NOT EXISTS {journal_mark} (
	commit_id TEXT NOT NULL PRIMARY KEY,
	marks     TEXT NOT NULL -- numbers, such as 1-5,8
) WITHOUT ROWID;
