-- The tables of Trac that the examples need, as Trac 1.6 has them, in words that
-- SQLite, PostgreSQL and MySQL share. In a Trac's own database they are there.
-- Times are microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS wiki (
	name     varchar(191) NOT NULL,
	version  integer      NOT NULL,
	time     bigint,
	author   {text},
	text     {text},
	comment  {text},
	readonly integer,
	PRIMARY KEY (name, version)
) {options};

CREATE TABLE IF NOT EXISTS ticket (
	id          {counted},
	type        {text},
	time        bigint,
	changetime  bigint,
	component   {text},
	severity    {text},
	priority    {text},
	owner       {text},
	reporter    {text},
	cc          {text},
	version     {text},
	milestone   {text},
	status      {text},
	resolution  {text},
	summary     {text},
	description {text},
	keywords    {text}
) {options};

CREATE TABLE IF NOT EXISTS ticket_change (
	ticket   integer      NOT NULL,
	time     bigint       NOT NULL,
	author   {text},
	field    varchar(191) NOT NULL,
	oldvalue {text},
	newvalue {text},
	PRIMARY KEY (ticket, time, field)
) {options};

CREATE TABLE IF NOT EXISTS ticket_custom (
	ticket integer      NOT NULL,
	name   varchar(191) NOT NULL,
	value  {text},
	PRIMARY KEY (ticket, name)
) {options};

CREATE TABLE IF NOT EXISTS attachment (
	type        varchar(100) NOT NULL,
	id          varchar(191) NOT NULL,
	filename    varchar(191) NOT NULL,
	size        integer,
	time        bigint,
	description {text},
	author      {text},
	PRIMARY KEY (type, id, filename)
) {options};
