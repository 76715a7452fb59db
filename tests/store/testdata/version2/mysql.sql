CREATE TABLE IF NOT EXISTS {journal_transaction} (
	tid    BIGINT         NOT NULL PRIMARY KEY,
	mark   VARBINARY(64)  NOT NULL, -- a random identity
	origin VARBINARY(64)  NOT NULL, -- of the process that committed it
	realms VARBINARY(2000) NOT NULL -- those that have entries, separated by commas
) ENGINE = InnoDB;

-- The counter: locked from the taking of a tid to the commit.
CREATE TABLE IF NOT EXISTS {journal_head} (
	one INTEGER NOT NULL PRIMARY KEY,
	tid BIGINT  NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_head} VALUES (1, 0);

-- A row for each number that resources are locked by.
CREATE TABLE IF NOT EXISTS {journal_lock} (
	slot INTEGER NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_lock}
SELECT a.d + 8 * b.d + 64 * c.d + 512 * e.d FROM
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) a,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) b,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) c,
	(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7) e;

-- Last, for its row says that the others are there.
CREATE TABLE IF NOT EXISTS {journal_facts} (
	one            INTEGER       NOT NULL PRIMARY KEY,
	uuid           VARBINARY(64) NOT NULL, -- names this journal
	schema_version INTEGER       NOT NULL,
	lock_class     INTEGER       NOT NULL, -- not used here
	floor          BIGINT        NOT NULL  -- changes up to this tid are pruned
) ENGINE = InnoDB;

INSERT IGNORE INTO {journal_facts} VALUES (1, uuid(), 1, 0, 0);
