-- Ids and fields are bytes: no collation makes two of them equal, no padding
-- either.
CREATE TABLE IF NOT EXISTS {REALM_journal} (
	tid           BIGINT          NOT NULL,
	seq           INTEGER         NOT NULL, -- place in the transaction
	id            VARBINARY(1000) NOT NULL,
	"change"      VARBINARY(100)  NOT NULL,
	time          BIGINT          NOT NULL, -- microseconds since 1970, UTC
	author        LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	ipnr          LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	authenticated INTEGER         NOT NULL,
	comment       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	parts         BIGINT          NOT NULL, -- which parts are null or absent
	state         LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, -- JSON: the fields that did not change
	PRIMARY KEY (tid, seq),
	INDEX (id, tid)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {REALM_history} (
	tid       BIGINT          NOT NULL,
	seq       INTEGER         NOT NULL,
	id        VARBINARY(1000) NOT NULL,
	field     VARBINARY(1000) NOT NULL,
	old_type  VARBINARY(8),            -- null: there was no such field
	old_value LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	new_type  VARBINARY(8),
	new_value LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	PRIMARY KEY (tid, seq, field)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
