-- Views for people and tools: a change, and its fields. Those are counted by the rows of
-- journal_lock, because not all versions can make rows of a document; and the changes are read
-- first, or each would be read for each of those rows.
CREATE OR REPLACE VIEW {REALM_journal} AS
SELECT tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts,
	CASE WHEN JSON_VALID(document) THEN JSON_EXTRACT(document, '$.state') END AS state, env
FROM {journal_change} WHERE realm = 'REALM';

CREATE OR REPLACE VIEW {REALM_history} AS
SELECT c.tid, c.seq, c.id, CASE WHEN JSON_TYPE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][0]'))) <> 'NULL' THEN JSON_UNQUOTE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][0]'))) END AS field,
	CASE WHEN JSON_TYPE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][1]'))) <> 'NULL' THEN JSON_UNQUOTE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][1]'))) END AS old_type,
	CASE WHEN JSON_TYPE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][2]'))) <> 'NULL' THEN JSON_UNQUOTE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][2]'))) END AS old_value,
	CASE WHEN JSON_TYPE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][3]'))) <> 'NULL' THEN JSON_UNQUOTE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][3]'))) END AS new_type,
	CASE WHEN JSON_TYPE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][4]'))) <> 'NULL' THEN JSON_UNQUOTE(JSON_EXTRACT(c.document, CONCAT('$.changed[', n.slot, '][4]'))) END AS new_value
FROM {journal_change} c STRAIGHT_JOIN {journal_lock} n ON JSON_VALID(c.document) AND n.slot < JSON_LENGTH(c.document, '$.changed')
WHERE c.realm = 'REALM';
