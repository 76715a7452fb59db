-- The tracker's own tables, beside those of Trac and of the journal.
-- Times are microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS tracker_account (
	name     varchar(100) NOT NULL PRIMARY KEY,
	password varchar(100) NOT NULL, -- bcrypt's hash
	made     bigint       NOT NULL
) {options};

CREATE TABLE IF NOT EXISTS tracker_session (
	visitor varchar(64)  NOT NULL PRIMARY KEY, -- SHA-256 of the cookie
	name    varchar(100) NOT NULL,
	expires bigint       NOT NULL
) {options};
