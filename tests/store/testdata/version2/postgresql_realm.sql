CREATE TABLE {REALM_journal} (
	tid           bigint  NOT NULL,
	seq           integer NOT NULL, -- place in the transaction
	id            text    NOT NULL,
	change        text    NOT NULL,
	time          bigint  NOT NULL, -- microseconds since 1970, UTC
	author        text    NOT NULL,
	ipnr          text    NOT NULL,
	authenticated integer NOT NULL,
	comment       text    NOT NULL,
	parts         bigint  NOT NULL, -- which parts are null or absent
	state         text    NOT NULL, -- JSON: the fields that did not change
	PRIMARY KEY (tid, seq)
);

CREATE INDEX REALM_journal_id ON {REALM_journal} (id, tid);

CREATE TABLE {REALM_history} (
	tid       bigint  NOT NULL,
	seq       integer NOT NULL,
	id        text    NOT NULL,
	field     text    NOT NULL,
	old_type  text,             -- null: there was no such field
	old_value text,
	new_type  text,
	new_value text,
	PRIMARY KEY (tid, seq, field)
);
