-- Whoever lacks a right learns it here, and version 2 works on: the server commits each statement
-- that follows, so that a step that has begun has to go on.
DROP PROCEDURE IF EXISTS {journal_try};

DROP VIEW IF EXISTS {journal_try_3};

DROP TABLE IF EXISTS {journal_try}, {journal_try_2};

CREATE TABLE {journal_try} (one INTEGER NOT NULL) ENGINE = InnoDB;

ALTER TABLE {journal_try} CHANGE one two INTEGER NOT NULL;

RENAME TABLE {journal_try} TO {journal_try_2};

INSERT INTO {journal_try_2} SELECT one FROM {journal_facts};

UPDATE {journal_try_2} SET two = 2;

CREATE OR REPLACE VIEW {journal_try_3} AS SELECT two FROM {journal_try_2};

CREATE PROCEDURE {journal_try}() MODIFIES SQL DATA SQL SECURITY INVOKER BEGIN END;

DROP PROCEDURE {journal_try};

DROP VIEW {journal_try_3};

DROP TABLE {journal_try_2};

-- Version 3: one row for each change. A journal of version 2 needs what follows, in this
-- order. Processes of version 2 are refused from the first statement on.
UPDATE {journal_facts} SET schema_version = 3 WHERE one = 1;

{journal_change}

{journal_decided}

RENAME TABLE {REALM_history} TO {REALM_history_2};

RENAME TABLE {REALM_journal} TO {REALM_journal_2};

ALTER TABLE {journal_once} RENAME TO {journal_consumer},
	CHANGE mark commit_id VARBINARY(64) NOT NULL, CHANGE rest partial INTEGER NOT NULL, CHANGE epoch token BIGINT NOT NULL,
	CHANGE beat heartbeat BIGINT NOT NULL, CHANGE taken leased_at BIGINT NOT NULL, CHANGE branch generation BIGINT NOT NULL;

ALTER TABLE {journal_aside} RENAME TO {journal_dead_letter},
	CHANGE mark commit_id VARBINARY(64) NOT NULL, CHANGE tries attempts INTEGER NOT NULL, CHANGE retry redeliver INTEGER NOT NULL;

RENAME TABLE {journal_transaction} TO {journal_transaction_2};

-- Or texts would be cut, between AFTER and UPTO. An index is forced on what follows: as long as
-- the server has not counted its rows, it may read all of a table for each row of another.
SET @tracbus_concat = @@group_concat_max_len, SESSION group_concat_max_len = 4294967295;

INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
SELECT j.tid, j.seq, COUNTS, t.mark, t.origin, 'REALM', j.id, j."change", j.time, j.author, j.ipnr, j.authenticated, j.comment, j.parts,
	CONCAT(CHAR(123 USING utf8mb4), JSON_QUOTE('changed'), ':[', coalesce((
		SELECT GROUP_CONCAT(JSON_ARRAY(CONVERT(h.field USING utf8mb4), CONVERT(h.old_type USING utf8mb4), h.old_value, CONVERT(h.new_type USING utf8mb4), h.new_value))
		FROM {REALM_history_2} h FORCE INDEX (PRIMARY) WHERE h.tid = j.tid AND h.seq = j.seq
	), ''), '],', JSON_QUOTE('state'), ':', j.state, '}')
FROM {REALM_journal_2} j FORCE INDEX (PRIMARY) JOIN {journal_transaction_2} t FORCE INDEX (PRIMARY) ON t.tid = j.tid WHERE j.tid > AFTER AND j.tid <= UPTO;

-- A transaction without its rows: it is one that cannot be read.
INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
SELECT t.tid, 0, CASE WHEN t.realms = '' THEN 0 ELSE 1 END, t.mark, t.origin, substring_index(t.realms, ',', 1), '', '', 0, '', '', 0, '', 0, ''
FROM {journal_transaction_2} t FORCE INDEX (PRIMARY) WHERE t.tid > AFTER AND t.tid <= UPTO AND COUNTS = 0;

-- It goes with each copy, AFTER it: the connection is the pool's.
SET SESSION group_concat_max_len = @tracbus_concat;

-- Version 2 left no gaps, so that nobody needs to look for them.
UPDATE {journal_decided}, (SELECT tid, commit_id FROM {journal_change} WHERE seq = 0 ORDER BY tid DESC LIMIT 1) latest
SET {journal_decided}.tid = latest.tid, {journal_decided}.commit_id = latest.commit_id;

DROP TABLE IF EXISTS {journal_head};

DROP TABLE IF EXISTS {REALM_history_2};

DROP TABLE IF EXISTS {REALM_journal_2};

DROP TABLE IF EXISTS {journal_transaction_2};
