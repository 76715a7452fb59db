-- Version 2: names of which each is told once. A database of version 1 needs
-- what follows, in this order.
CREATE TABLE IF NOT EXISTS {journal_once} (
	name    VARBINARY(64)   NOT NULL PRIMARY KEY,
	tid     BIGINT          NOT NULL, -- the last transaction told of
	mark    VARBINARY(64)   NOT NULL, -- its random identity
	seq     INTEGER         NOT NULL, -- the last change of it told of, where rest is 1; else -1
	rest    INTEGER         NOT NULL, -- 1: it has more changes behind seq
	epoch   BIGINT          NOT NULL, -- rises when the lease is taken
	beat    BIGINT          NOT NULL, -- rises with each word of the holder
	holder  VARBINARY(200)  NOT NULL, -- empty: nobody
	taken   BIGINT          NOT NULL, -- microseconds since 1970, by the clock of the database, as all here
	expires BIGINT          NOT NULL,
	branch  BIGINT          NOT NULL, -- of what is kept outside; -1: not known
	failing BIGINT          NOT NULL, -- since when; 0: it works
	error   TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL -- of the last call; empty: none
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {journal_aside} (
	name  VARBINARY(64)   NOT NULL,
	tid   BIGINT          NOT NULL,
	seq   INTEGER         NOT NULL,
	mark  VARBINARY(64)   NOT NULL, -- of the transaction
	realm VARBINARY(64)   NOT NULL,
	id    VARBINARY(1000) NOT NULL,
	error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	tries INTEGER         NOT NULL,
	since BIGINT          NOT NULL, -- microseconds since 1970, by the clock of the database
	retry INTEGER         NOT NULL, -- 1: it is to be told again
	PRIMARY KEY (name, tid, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Last, for it says that the others are there.
UPDATE {journal_facts} SET schema_version = 2 WHERE one = 1 AND schema_version = 1;
