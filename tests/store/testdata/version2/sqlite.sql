CREATE TABLE {journal_facts} (
	one            INTEGER PRIMARY KEY CHECK (one = 1),
	uuid           TEXT    NOT NULL, -- names this journal
	schema_version INTEGER NOT NULL,
	lock_class     INTEGER NOT NULL, -- not used here
	floor          INTEGER NOT NULL  -- changes up to this tid are pruned
);

INSERT INTO {journal_facts} VALUES (1, lower(hex(randomblob(16))), 1, 0, 0);

-- AUTOINCREMENT, or a pruned tid would be handed out again.
CREATE TABLE {journal_transaction} (
	tid    INTEGER PRIMARY KEY AUTOINCREMENT,
	mark   TEXT NOT NULL, -- a random identity
	origin TEXT NOT NULL, -- of the process that committed it
	realms TEXT NOT NULL  -- those that have entries, separated by commas
);
