package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// works checks that version 2 works as before, after n transactions.
func (o old) works(n int64) {
	o.t.Helper()
	assert.Equal(o.t, 2, one[int](o.t, o.DB, "SELECT schema_version FROM journal_facts"))
	tid, err := o.commit("works on")
	require.NoError(o.t, err)
	assert.Equal(o.t, n+1, tid)
}

// TestUpgradeRights: a user who lacks any of the rights that the step needs learns it before
// anything has changed.
func TestUpgradeRights(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	name := s.Name()
	root := s.Open(t, s.DSN(name))
	o := versionTwo(t, root, s.Dialect, 2)
	o.fill(7)
	rights := []string{"SELECT", "INSERT", "UPDATE", "CREATE", "ALTER", "DROP", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE"}
	o.exec("CREATE USER maker@'%'")
	config := store.Config{Dialect: s.Dialect, Realms: oldRealms}
	open := func(rights []string) error {
		o.exec("GRANT " + strings.Join(rights, ", ") + " ON `" + name + "`.* TO maker@'%'")
		db := s.Open(t, strings.Replace(s.DSN(name), "root@", "maker@", 1))
		defer db.Close()
		_, err := store.Open(t.Context(), db, config)
		return err
	}
	n := int64(7)
	for _, lacking := range rights[1:] {
		err := open(slices.DeleteFunc(slices.Clone(rights), func(right string) bool { return right == lacking }))
		require.ErrorContains(t, err, "denied", lacking)
		o.works(n)
		n++
		o.exec("REVOKE ALL PRIVILEGES ON `" + name + "`.* FROM maker@'%'")
	}
	require.NoError(t, open(rights))
	end, err := o.opened(config).End(t.Context(), root)
	require.NoError(t, err)
	assert.Equal(t, n, end.TID)
}

// TestUpgradeDependants: what others have made on the tables that the step drops is named before
// it begins, and nothing else is.
func TestUpgradeDependants(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		o := versionTwo(t, s.New(t), s.Dialect, 2)
		o.fill(7)
		key := map[string]string{"mysql": "BIGINT", "postgresql": "bigint", "sqlite": "INTEGER"}[s.Dialect]
		o.exec("CREATE TABLE ticket_journal_notes (tid " + key + " PRIMARY KEY, ticket_journal " + key + ")")
		o.exec("CREATE VIEW other AS SELECT tid FROM ticket_journal_notes")
		o.exec("CREATE VIEW transactions AS SELECT tid, origin FROM journal_transaction")
		o.exec("CREATE TABLE note (tid " + key + " REFERENCES journal_transaction (tid))")
		depend, drop := []string{"view transactions"}, []string{"DROP TABLE note", "DROP VIEW transactions"}
		switch s.Dialect {
		case "postgresql":
			o.exec("CREATE MATERIALIZED VIEW report AS SELECT tid, field FROM ticket_history")
			o.exec("CREATE FUNCTION of_change(wiki_journal) RETURNS text LANGUAGE sql AS 'SELECT $1.id'")
			o.exec("CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
			o.exec("CREATE TRIGGER told BEFORE INSERT ON wiki_journal FOR EACH ROW EXECUTE FUNCTION told()")
			depend = append(depend, "materialized view report", "function of_change(wiki_journal)", "trigger told on table wiki_journal", "constraint note_tid_fkey on table note")
			drop = append(drop, "DROP MATERIALIZED VIEW report", "DROP FUNCTION of_change", "DROP TRIGGER told ON wiki_journal")
		case "mysql":
			o.exec("CREATE VIEW report AS SELECT tid, field FROM ticket_history") // which reads the view then
			o.exec("CREATE TRIGGER told BEFORE INSERT ON wiki_journal FOR EACH ROW SET NEW.ipnr = NEW.ipnr")
			o.exec("DROP TABLE note")
			o.exec("CREATE TABLE note (tid BIGINT, CONSTRAINT note_tid FOREIGN KEY (tid) REFERENCES journal_transaction (tid))")
			depend = append(depend, "trigger told", "foreign key note_tid of table note")
			drop = append(drop, "DROP TRIGGER told")
		default:
			o.exec("CREATE VIEW report AS SELECT tid, field FROM main.\"Ticket_History\" h")
			o.exec("CREATE TRIGGER told AFTER INSERT ON wiki_journal BEGIN DELETE FROM ticket_journal_notes; END")
			depend = append(depend, "view report", "trigger told", "foreign key of table note")
			drop = append(drop, "DROP VIEW report", "DROP TRIGGER told")
		}
		config := store.Config{Dialect: s.Dialect, Realms: oldRealms}
		_, err := store.Open(t.Context(), o.DB, config)
		require.ErrorIs(t, err, store.ErrSchema)
		_, said, _ := strings.Cut(err.Error(), " depend: ")
		said, _, _ = strings.Cut(said, ";")
		assert.ElementsMatch(t, depend, strings.Split(said, ", "), "%v", err)
		o.works(7)
		for _, query := range drop {
			o.exec(query)
		}
		st, err := store.Open(t.Context(), o.DB, config)
		require.NoError(t, err)
		end, err := st.End(t.Context(), o.DB)
		require.NoError(t, err)
		assert.EqualValues(t, 8, end.TID)
	})
}

// TestMakerWhoMayNotCall: a user with the rights to make a journal, who has not the one to call its
// procedures, makes these too.
func TestMakerWhoMayNotCall(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	name := s.Name()
	root := s.Open(t, s.DSN(name))
	for _, query := range []string{"CREATE USER maker@'%'", "GRANT SELECT, INSERT, CREATE, DROP, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE ON `" + name + "`.* TO maker@'%'"} {
		_, err := root.Exec(query)
		require.NoError(t, err)
	}
	config := store.Config{Dialect: s.Dialect, Realms: oldRealms}
	_, err := store.Open(t.Context(), s.Open(t, strings.Replace(s.DSN(name), "root@", "maker@", 1)), config)
	require.NoError(t, err)
	config.Manual = true
	_, err = store.Open(t.Context(), root, config)
	require.NoError(t, err)
}
