CREATE TABLE {journal_facts} (
	one            integer PRIMARY KEY CHECK (one = 1),
	uuid           text    NOT NULL, -- names this journal
	schema_version integer NOT NULL,
	lock_class     integer NOT NULL, -- the upper 16 bits of its advisory locks
	floor          bigint  NOT NULL  -- changes up to this tid are pruned
);

-- Locks of two journals in one database must not be taken for each other's. Of
-- journals that this role may not read, chance keeps the class apart.
DO $$
DECLARE
	other text;
	taken integer;
	class integer;
	free  boolean;
BEGIN
	LOOP
		class := 1 + floor(random() * 32766)::integer;
		free := true;
		FOR other IN
			SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'lock_class' AND NOT a.attisdropped AND a.atttypid = 'integer'::regtype
			WHERE c.relname = 'journal_facts' AND c.relkind = 'r' AND c.relpersistence <> 't'
			  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
		LOOP
			EXECUTE 'SELECT max(lock_class) FROM ' || other || '.journal_facts' INTO taken;
			free := free AND taken IS DISTINCT FROM class;
		END LOOP;
		EXIT WHEN free;
	END LOOP;
	INSERT INTO {journal_facts} VALUES (1, gen_random_uuid()::text, 3, class, 0);
END $$;

CREATE SEQUENCE {journal_tid} MINVALUE 1 MAXVALUE 281474976710655 CACHE 1;

CREATE TABLE {journal_change} (
	tid           bigint  NOT NULL,
	seq           integer NOT NULL, -- place in the transaction
	changes       integer NOT NULL, -- how many the transaction has
	commit_id     text    NOT NULL, -- of the transaction, random
	origin        text    NOT NULL, -- of the process that committed it
	realm         text    NOT NULL,
	id            text    NOT NULL,
	change        text    NOT NULL,
	time          bigint  NOT NULL, -- microseconds since 1970, UTC
	author        text    NOT NULL,
	ipnr          text    NOT NULL,
	authenticated integer NOT NULL,
	env           text,             -- null: the bus's own
	comment       text    NOT NULL,
	parts         bigint  NOT NULL, -- which parts are null or absent
	document      text    NOT NULL, -- JSON: the fields that changed, and the state of those that did not
	PRIMARY KEY (tid, seq)
);

-- With all that a history is in the order of: else it may be read by the primary key, through
-- all changes of others.
CREATE INDEX journal_change_id ON {journal_change} (realm, id, tid, seq);

-- How many transactions were counted, from the first to the last of them: who prunes to a
-- number counts on from there.
CREATE TABLE {journal_count} (
	one       integer PRIMARY KEY CHECK (one = 1),
	n         bigint  NOT NULL, -- 0: none were
	first     bigint  NOT NULL, -- a tid, as the next
	tid       bigint  NOT NULL,
	commit_id text    NOT NULL  -- of that
);

INSERT INTO {journal_count} VALUES (1, 0, 0, 0, '');

-- Says up to which tid every transaction has ended and is seen by statements
-- after this one. The sequence must be read before the locks.
CREATE FUNCTION {journal_bound}(OUT bound bigint, OUT head bigint, OUT standby boolean) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	class  bigint;
	lowest bigint;
BEGIN
	SELECT lock_class INTO STRICT class FROM {journal_facts};
	head := coalesce(pg_sequence_last_value('{journal_tid}'::regclass), 0);
	SELECT min((classid::bigint << 32 | objid::bigint) & ((1::bigint << 48) - 1)), pg_is_in_recovery() INTO lowest, standby
	FROM pg_locks
	WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = class
	  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
	bound := least(head, lowest);
END $$;

-- A row for each durable consumer.
CREATE TABLE {journal_consumer} (
	name       text    PRIMARY KEY,
	tid        bigint  NOT NULL, -- the last transaction that was handled
	commit_id  text    NOT NULL, -- of that
	seq        integer NOT NULL, -- the last change of it that was handled, if partial is 1; else -1
	partial    integer NOT NULL, -- 1: it has more changes after seq
	token      bigint  NOT NULL, -- the fencing token: rises when the lease is acquired
	heartbeat  bigint  NOT NULL, -- rises with each statement of the holder
	holder     text    NOT NULL, -- empty: nobody
	leased_at  bigint  NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires    bigint  NOT NULL,
	generation bigint  NOT NULL, -- of what is kept outside; -1: not known
	failing    bigint  NOT NULL, -- since when; 0: it works
	error      text    NOT NULL  -- of the last call; empty: none
);

CREATE TABLE {journal_dead_letter} (
	name      text    NOT NULL, -- of the consumer
	tid       bigint  NOT NULL,
	seq       integer NOT NULL,
	commit_id text    NOT NULL,
	realm     text    NOT NULL,
	id        text    NOT NULL,
	error     text    NOT NULL,
	attempts  integer NOT NULL,
	since     bigint  NOT NULL, -- microseconds since 1970, by the clock of the database
	redeliver integer NOT NULL, -- 1: the consumer is to be called with it again
	PRIMARY KEY (name, tid, seq)
);
