-- Version 3: one row for each change. A journal of version 2 needs what follows, in this
-- order. Processes of version 2 are refused from the first statement on.
UPDATE {journal_facts} SET schema_version = 3 WHERE one = 1;

ALTER TABLE {REALM_history} RENAME TO REALM_history_2;

ALTER TABLE {REALM_journal} RENAME TO REALM_journal_2;

ALTER TABLE {journal_once} RENAME COLUMN mark TO commit_id;

ALTER TABLE {journal_once} RENAME COLUMN rest TO partial;

ALTER TABLE {journal_once} RENAME COLUMN epoch TO token;

ALTER TABLE {journal_once} RENAME COLUMN beat TO heartbeat;

ALTER TABLE {journal_once} RENAME COLUMN taken TO leased_at;

ALTER TABLE {journal_once} RENAME COLUMN branch TO generation;

ALTER TABLE {journal_once} RENAME TO journal_consumer;

ALTER TABLE {journal_aside} RENAME COLUMN mark TO commit_id;

ALTER TABLE {journal_aside} RENAME COLUMN tries TO attempts;

ALTER TABLE {journal_aside} RENAME COLUMN retry TO redeliver;

ALTER TABLE {journal_aside} RENAME TO journal_dead_letter;

ALTER TABLE {journal_transaction} RENAME TO journal_transaction_2;

DROP FUNCTION IF EXISTS {journal_allocate}(text, text, text);

{journal_change}

{journal_count}

INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
SELECT j.tid, j.seq, COUNTS, t.mark, t.origin, 'REALM', j.id, j.change, j.time, j.author, j.ipnr, j.authenticated, j.comment, j.parts,
	chr(123) || to_json('changed'::text)::text || ':' || (
		SELECT coalesce(json_agg(json_build_array(h.field, h.old_type, h.old_value, h.new_type, h.new_value)), '[]')::text FROM {REALM_history_2} h WHERE h.tid = j.tid AND h.seq = j.seq
	) || ',' || to_json('state'::text)::text || ':' || j.state || '}'
FROM {REALM_journal_2} j JOIN {journal_transaction_2} t ON t.tid = j.tid WHERE j.tid > AFTER AND j.tid <= UPTO;

-- A transaction without its rows: it is one that cannot be read.
INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
SELECT t.tid, 0, CASE WHEN t.realms = '' THEN 0 ELSE 1 END, t.mark, t.origin, split_part(t.realms, ',', 1), '', '', 0, '', '', 0, '', 0, ''
FROM {journal_transaction_2} t WHERE t.tid > AFTER AND t.tid <= UPTO AND COUNTS = 0;

DROP TABLE IF EXISTS {REALM_history_2};

DROP TABLE IF EXISTS {REALM_journal_2};

DROP TABLE {journal_transaction_2};
