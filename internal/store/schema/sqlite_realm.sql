-- Views for people and tools: a change, and its fields.
CREATE VIEW IF NOT EXISTS {REALM_journal} AS
SELECT tid, seq, id, change, time, author, ipnr, authenticated, comment, parts,
	CASE WHEN json_valid(document) THEN json_extract(document, '$.state') END AS state, env
FROM {journal_change} WHERE realm = 'REALM';

CREATE VIEW IF NOT EXISTS {REALM_history} AS
SELECT c.tid, c.seq, c.id, json_extract(f.value, '$[0]') AS field,
	json_extract(f.value, '$[1]') AS old_type, json_extract(f.value, '$[2]') AS old_value,
	json_extract(f.value, '$[3]') AS new_type, json_extract(f.value, '$[4]') AS new_value
FROM {journal_change} c, json_each(CASE WHEN json_valid(c.document) THEN c.document ELSE '{}' END, '$.changed') f
WHERE c.realm = 'REALM';
