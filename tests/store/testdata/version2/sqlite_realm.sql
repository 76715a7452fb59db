CREATE TABLE {REALM_journal} (
	tid           INTEGER NOT NULL,
	seq           INTEGER NOT NULL, -- place in the transaction
	id            TEXT    NOT NULL,
	change        TEXT    NOT NULL,
	time          INTEGER NOT NULL, -- microseconds since 1970, UTC
	author        TEXT    NOT NULL,
	ipnr          TEXT    NOT NULL,
	authenticated INTEGER NOT NULL,
	comment       TEXT    NOT NULL,
	parts         INTEGER NOT NULL, -- which parts are null or absent
	state         TEXT    NOT NULL, -- JSON: the fields that did not change
	PRIMARY KEY (tid, seq)
);

CREATE INDEX REALM_journal_id ON {REALM_journal} (id, tid);

CREATE TABLE {REALM_history} (
	tid       INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	id        TEXT    NOT NULL,
	field     TEXT    NOT NULL,
	old_type  TEXT,             -- null: there was no such field
	old_value TEXT,
	new_type  TEXT,
	new_value TEXT,
	PRIMARY KEY (tid, seq, field)
);
