-- Views for people and tools: a change, and its fields.
CREATE OR REPLACE VIEW {REALM_journal} AS
SELECT tid, seq, id, change, time, author, ipnr, authenticated, comment, parts, (nullif(document, '')::json -> 'state')::text AS state, env
FROM {journal_change} WHERE realm = 'REALM';

CREATE OR REPLACE VIEW {REALM_history} AS
SELECT c.tid, c.seq, c.id, f ->> 0 AS field, f ->> 1 AS old_type, f ->> 2 AS old_value, f ->> 3 AS new_type, f ->> 4 AS new_value
FROM {journal_change} c CROSS JOIN LATERAL json_array_elements(nullif(c.document, '')::json -> 'changed') f
WHERE c.realm = 'REALM';
