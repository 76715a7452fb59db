-- What begins a transaction that writes, in one statement. The variable says to the triggers of
-- package capture that what is written is the library's own; whatever ends the transaction takes
-- that back. No body names a schema: its tables
-- are those of the procedure's own, also in a copy, into which a dump brings it as it is.
DROP PROCEDURE IF EXISTS {journal_begin};

CREATE PROCEDURE {journal_begin}(p_own VARBINARY(10))
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	START TRANSACTION READ WRITE;
	SAVEPOINT tracbus_begun;
	SET @tracbus_own = p_own;
END;

-- What takes a tid, and writes the first row of a transaction. The resource is locked
-- before the tid is taken, and until the commit: so the tids of one resource follow its
-- commits. A reader may have closed the tid before the row was there: then the key refuses
-- it, and the next one is taken. The row's transaction holds it until the commit, and so
-- no reader closes it. A tid that is not above what is pruned is refused. Parameters are
-- longer than the columns: what does not fit is refused by the table, and not cut.
DROP PROCEDURE IF EXISTS {journal_append};

CREATE PROCEDURE {journal_append}(
	p_own BOOLEAN, p_session BIGINT, p_slot INTEGER, p_changes INTEGER, p_commit_id LONGBLOB, p_origin LONGBLOB, p_realm LONGBLOB, p_id LONGBLOB, p_change LONGBLOB, p_time BIGINT,
	p_author LONGTEXT CHARACTER SET utf8mb4, p_ipnr LONGTEXT CHARACTER SET utf8mb4, p_authenticated INTEGER, p_env LONGBLOB, p_comment LONGTEXT CHARACTER SET utf8mb4, p_parts BIGINT, p_document LONGTEXT CHARACTER SET utf8mb4
)
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	DECLARE locked INTEGER;
	DECLARE pruned BIGINT;
	DECLARE tries, closed INTEGER DEFAULT 0;
	DECLARE said TEXT;
	DECLARE CONTINUE HANDLER FOR 1062
	BEGIN
		GET DIAGNOSTICS CONDITION 1 said = MESSAGE_TEXT;
		SET closed = closed + 1;
		IF closed > 20 OR said NOT LIKE '%PRIMARY%' THEN
			RESIGNAL;
		END IF;
	END;
	IF p_own THEN
		RELEASE SAVEPOINT tracbus_begun;
		SET @tracbus_own = NULL;
	END IF;
	IF p_slot IS NOT NULL THEN
		SELECT slot INTO locked FROM journal_lock WHERE slot = p_slot FOR UPDATE;
	END IF;
	REPEAT
		SET tries = tries + 1;
		INSERT INTO journal_change (seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, env, comment, parts, document, session)
		VALUES (0, CASE WHEN locked <=> p_slot AND coalesce(p_session = connection_id(), TRUE) THEN p_changes END, p_commit_id, p_origin, p_realm, p_id, p_change, p_time, p_author, p_ipnr, p_authenticated, p_env, p_comment, p_parts, p_document, connection_id());
	UNTIL closed < tries END REPEAT;
	SELECT floor INTO pruned FROM journal_facts WHERE one = 1;
	IF NOT coalesce(last_insert_id() > pruned, FALSE) THEN
		SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30062, MESSAGE_TEXT = 'tracbus: the tid is not above what is pruned';
	END IF;
	SELECT last_insert_id() LIMIT 1;
END;
