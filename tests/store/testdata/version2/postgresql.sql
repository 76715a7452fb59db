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
	INSERT INTO {journal_facts} VALUES (1, gen_random_uuid()::text, 1, class, 0);
END $$;

CREATE SEQUENCE {journal_tid} MINVALUE 1 MAXVALUE 281474976710655 CACHE 1;

CREATE TABLE {journal_transaction} (
	tid    bigint PRIMARY KEY,
	mark   text NOT NULL, -- a random identity
	origin text NOT NULL, -- of the process that committed it
	realms text NOT NULL  -- those that have entries, separated by commas
);

-- Takes a tid. The lock says: a tid above the key's lower 48 bits may yet come.
-- It must be held before the sequence is asked, and is until the commit is seen.
CREATE FUNCTION {journal_allocate}(mark text, origin text, realms text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	class bigint;
	t     bigint;
BEGIN
	SELECT lock_class INTO STRICT class FROM {journal_facts};
	PERFORM pg_advisory_xact_lock_shared((class << 48) | coalesce(pg_sequence_last_value('{journal_tid}'::regclass), 0));
	t := nextval('{journal_tid}'::regclass);
	INSERT INTO {journal_transaction} VALUES (t, mark, origin, realms);
	RETURN t;
END $$;

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
