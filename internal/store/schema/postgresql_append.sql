-- Takes a tid and stores the first change. TYPED is placeholders for the values after the tid.
-- BEFORE may lock a resource.
-- Each step has its value from the one within it, so PostgreSQL cannot take them in another
-- order: the locks come before nextval. The shared lock says that a tid above the key's lower
-- 48 bits may yet come. It must be held before the sequence is asked, and is until the commit
-- is seen. In a serializable transaction the statement does not look at the changes of others:
-- two that both do, and both add one, are refused by the database. It stores nothing if IF is
-- false, or if the tid is not above those of the tables.
INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, env, comment, parts, document)
SELECT t.tid, TYPED
FROM (
	SELECT b.had, CASE WHEN b.held IS NOT NULL THEN nextval('{journal_tid}'::regclass) END AS tid FROM (
		SELECT a.had, CASE WHEN a.locked IS NOT NULL THEN
			pg_advisory_xact_lock_shared((a.class << 48) | coalesce(pg_sequence_last_value('{journal_tid}'::regclass), 0)) END AS held
		FROM (
			SELECT f.lock_class::bigint AS class, BEFORE AS locked, greatest(f.floor,
				CASE WHEN current_setting('transaction_isolation') <> 'serializable' THEN (SELECT max(c.tid) FROM {journal_change} c) END) AS had
			FROM {journal_facts} f WHERE f.one = 1 AND IF OFFSET 0
		) a OFFSET 0
	) b OFFSET 0
) t WHERE t.tid > t.had RETURNING tid
