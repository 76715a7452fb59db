-- Version 2: names of which each is told once. A database of version 1 needs
-- what follows, in this order.
CREATE TABLE IF NOT EXISTS {journal_once} (
	name    text    PRIMARY KEY,
	tid     bigint  NOT NULL, -- the last transaction told of
	mark    text    NOT NULL, -- its random identity
	seq     integer NOT NULL, -- the last change of it told of, where rest is 1; else -1
	rest    integer NOT NULL, -- 1: it has more changes behind seq
	epoch   bigint  NOT NULL, -- rises when the lease is taken
	beat    bigint  NOT NULL, -- rises with each word of the holder
	holder  text    NOT NULL, -- empty: nobody
	taken   bigint  NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires bigint  NOT NULL,
	branch  bigint  NOT NULL, -- of what is kept outside; -1: not known
	failing bigint  NOT NULL, -- since when; 0: it works
	error   text    NOT NULL  -- of the last call; empty: none
);

CREATE TABLE IF NOT EXISTS {journal_aside} (
	name  text    NOT NULL,
	tid   bigint  NOT NULL,
	seq   integer NOT NULL,
	mark  text    NOT NULL, -- of the transaction
	realm text    NOT NULL,
	id    text    NOT NULL,
	error text    NOT NULL,
	tries integer NOT NULL,
	since bigint  NOT NULL, -- microseconds since 1970, by the clock of the database
	retry integer NOT NULL, -- 1: it is to be told again
	PRIMARY KEY (name, tid, seq)
);

UPDATE {journal_facts} SET schema_version = 2 WHERE one = 1 AND schema_version = 1;
