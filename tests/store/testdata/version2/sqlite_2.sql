-- Version 2: names of which each is told once. A database of version 1 needs
-- what follows, in this order.
CREATE TABLE IF NOT EXISTS {journal_once} (
	name    TEXT    NOT NULL PRIMARY KEY,
	tid     INTEGER NOT NULL, -- the last transaction told of
	mark    TEXT    NOT NULL, -- its random identity
	seq     INTEGER NOT NULL, -- the last change of it told of, where rest is 1; else -1
	rest    INTEGER NOT NULL, -- 1: it has more changes behind seq
	epoch   INTEGER NOT NULL, -- rises when the lease is taken
	beat    INTEGER NOT NULL, -- rises with each word of the holder
	holder  TEXT    NOT NULL, -- empty: nobody
	taken   INTEGER NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires INTEGER NOT NULL,
	branch  INTEGER NOT NULL, -- of what is kept outside; -1: not known
	failing INTEGER NOT NULL, -- since when; 0: it works
	error   TEXT    NOT NULL  -- of the last call; empty: none
);

CREATE TABLE IF NOT EXISTS {journal_aside} (
	name  TEXT    NOT NULL,
	tid   INTEGER NOT NULL,
	seq   INTEGER NOT NULL,
	mark  TEXT    NOT NULL, -- of the transaction
	realm TEXT    NOT NULL,
	id    TEXT    NOT NULL,
	error TEXT    NOT NULL,
	tries INTEGER NOT NULL,
	since INTEGER NOT NULL, -- microseconds since 1970, by the clock of the database
	retry INTEGER NOT NULL, -- 1: it is to be told again
	PRIMARY KEY (name, tid, seq)
);

UPDATE {journal_facts} SET schema_version = 2 WHERE one = 1 AND schema_version = 1;
