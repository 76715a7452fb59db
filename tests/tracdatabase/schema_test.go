package tracdatabase_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/tests/tracdatabase"
)

func TestSchemaIsWhatTracCreates(t *testing.T) {
	for d, want := range map[string][]string{
		"sqlite": {
			"CREATE TABLE ticket_change (\n    ticket integer,\n    time integer,\n    author text,\n    field text,\n" +
				"    oldvalue text,\n    newvalue text,\n    UNIQUE (ticket,time,field)\n)",
			"CREATE TABLE cache (\n    id integer PRIMARY KEY,\n    generation integer,\n    key text\n)",
			"CREATE TABLE component (\n    name text PRIMARY KEY,\n    owner text,\n    description text\n)",
		},
		"postgresql": {
			"CREATE TABLE \"ticket_custom\" (\n    \"ticket\" int,\n    \"name\" text,\n    \"value\" text,\n" +
				"    CONSTRAINT \"ticket_custom_pk\" PRIMARY KEY (\"ticket\",\"name\")\n)",
			"CREATE INDEX \"ticket_status_idx\" ON \"ticket\" (\"status\")",
			"CREATE TABLE \"milestone\" (\n    \"name\" text PRIMARY KEY,\n    \"due\" bigint,\n    \"completed\" bigint,\n" +
				"    \"description\" text\n)",
		},
		"mysql": {
			"CREATE TABLE `wiki` (\n    `name` mediumtext,\n    `version` int,\n    `time` bigint,\n    `author` mediumtext,\n" +
				"    `text` mediumtext,\n    `comment` mediumtext,\n    `readonly` int,\n" +
				"    PRIMARY KEY (`name`(191),`version`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
			"CREATE INDEX `ticket_status_idx` ON `ticket` (`status`(191))",
			"CREATE TABLE `version` (\n    `name` mediumtext,\n    `time` bigint,\n    `description` mediumtext,\n" +
				"    PRIMARY KEY (`name`(191))\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
		},
	} {
		for _, statement := range want {
			assert.Contains(t, tracdatabase.Schema(d), statement, "%s", d)
		}
	}
}
