package store_test

import (
	"database/sql"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// run runs the statements of a file of schema/, in the schema of the connection.
func run(t *testing.T, db *sql.DB, dialect, file, realm string) {
	t.Helper()
	text, err := os.ReadFile("../../internal/store/schema/" + dialect + file)
	require.NoError(t, err)
	words := strings.NewReplacer("{", "", "}", "", "REALM", realm)
	if dialect == "mysql" {
		words = strings.NewReplacer("{", "", "}", "", "REALM", realm, `"`, "`")
	}
	for statement := range strings.SplitSeq(words.Replace(string(text)), "\n\n") {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// one returns the one value of a query.
func one[V any](t *testing.T, db *sql.DB, query string) (v V) {
	t.Helper()
	require.NoError(t, db.QueryRow(query).Scan(&v), query)
	return v
}

// versionOne makes a journal as the first version of this library left it, with
// two transactions. It returns the journal's name.
func versionOne(t *testing.T, db *sql.DB, dialect string) (uuid string) {
	t.Helper()
	run(t, db, dialect, ".sql", "")
	for _, realm := range []string{"ticket", "wiki"} {
		run(t, db, dialect, "_realm.sql", realm)
		for tid := 1; tid <= 2; tid++ {
			change := "INSERT INTO " + realm + "_journal VALUES (?, 0, 'a', 'changed', 1, '', '', 0, '', 0, '')"
			if realm == "wiki" {
				change = strings.Replace(change, "0, 'a'", "1, 'a'", 1)
			} else {
				require.NoError(t, take(db, dialect, tid))
			}
			if dialect == "postgresql" {
				change = strings.Replace(change, "?", "$1", 1)
			}
			_, err := db.Exec(change, tid)
			require.NoError(t, err)
		}
	}
	require.Equal(t, 1, one[int](t, db, "SELECT schema_version FROM journal_facts"))
	return one[string](t, db, "SELECT uuid FROM journal_facts")
}

// TestUpgrade: a journal of version 1 is brought up when it is opened, also by
// two at once, after one that died on the way, and again; it keeps what it has.
func TestUpgrade(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := store.Config{Dialect: s.Dialect, Realms: []string{"ticket", "wiki"}}
		for name, before := range map[string]func(*sql.DB){
			"as it was": func(*sql.DB) {},
			"with one of the tables": func(db *sql.DB) {
				run(t, db, s.Dialect, "_2.sql", "")
				_, err := db.Exec("DROP TABLE journal_aside")
				require.NoError(t, err)
			},
			"with all but the version": func(db *sql.DB) { run(t, db, s.Dialect, "_2.sql", "") },
		} {
			t.Run(name, func(t *testing.T) {
				dsn := s.DSN(s.Name())
				db := s.Open(t, dsn)
				uuid := versionOne(t, db, s.Dialect)
				before(db)
				_, err := db.Exec("UPDATE journal_facts SET schema_version = 1")
				require.NoError(t, err)
				for range 2 { // the second finds all done
					var opened sync.WaitGroup
					for range 3 {
						other := s.Open(t, dsn)
						opened.Go(func() {
							st, err := store.Open(t.Context(), other, config)
							if assert.NoError(t, err) {
								assert.Equal(t, uuid, st.UUID())
							}
						})
					}
					opened.Wait()
				}
				assert.Equal(t, 2, one[int](t, db, "SELECT schema_version FROM journal_facts"))
				config := config
				config.Manual = true
				st, err := openTables(t.Context(), db, config)
				require.NoError(t, err)
				b, err := st.Read(t.Context(), db, store.Place{}, 10, config.Realms)
				require.NoError(t, err)
				require.Len(t, b.Changes, 4)
				for i, c := range b.Changes {
					assert.NoError(t, c.Damage)
					assert.Equal(t, b.Places[i/2].CommitID, c.CommitID)
				}
				require.NoError(t, st.AddConsumer(t.Context(), "a", b.Places[1]))
				takeOnce(t, st, "a", "me")
			})
		}
		t.Run("an empty database", func(t *testing.T) {
			dsn := s.DSN(s.Name())
			var opened sync.WaitGroup
			names := make([]string, 3)
			for i := range names {
				other := s.Open(t, dsn)
				opened.Go(func() {
					st, err := store.Open(t.Context(), other, config)
					if assert.NoError(t, err) {
						names[i] = st.UUID()
					}
				})
			}
			opened.Wait()
			assert.Equal(t, []string{names[0], names[0], names[0]}, names)
		})
	})
}

// TestBegun: on MySQL, whose statements that make tables stand alone, who dies
// before the version is written is followed by one that goes on.
func TestBegun(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	config := store.Config{Dialect: s.Dialect, Realms: twoRealms}
	db := s.New(t)
	run(t, db, s.Dialect, ".sql", "")
	_, err := db.Exec("DELETE FROM journal_facts")
	require.NoError(t, err)
	manual := config
	manual.Manual = true
	_, err = store.Open(t.Context(), db, manual)
	assert.ErrorIs(t, err, store.ErrSchema)
	_, err = store.Open(t.Context(), db, config)
	require.NoError(t, err)
	_, err = db.Exec("DELETE FROM journal_facts")
	require.NoError(t, err)
	_, err = store.Open(t.Context(), db, config)
	assert.ErrorIs(t, err, store.ErrSchema, "it was complete")
}

// TestUpgradeManual: who makes the tables himself is told which are missing, and
// finds them at the end of the text.
func TestUpgradeManual(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		db := s.New(t)
		versionOne(t, db, s.Dialect)
		config := store.Config{Dialect: s.Dialect, Realms: []string{"ticket", "wiki"}, Manual: true}
		_, err := store.Open(t.Context(), db, config)
		assert.ErrorIs(t, err, store.ErrSchema)
		assert.ErrorContains(t, err, "tables are missing: journal_once, journal_aside; those there are of version 1: expected version 2")
		_, err = db.Exec("SELECT * FROM journal_once")
		assert.Error(t, err, "the table was made")

		text, err := store.Text(s.Dialect, "", config.Realms)
		require.NoError(t, err)
		_, upgrade, found := strings.Cut(text, "-- Version 2")
		require.True(t, found)
		statements := strings.Split(strings.TrimSpace("-- Version 2"+upgrade), "\n\n")
		for i, statement := range statements {
			_, err := store.Open(t.Context(), db, config)
			assert.ErrorIs(t, err, store.ErrSchema, "before statement %d", i)
			assert.ErrorContains(t, err, "version 1", "before statement %d", i)
			_, err = db.Exec(statement)
			require.NoError(t, err, statement)
		}
		_, err = store.Open(t.Context(), db, config)
		assert.NoError(t, err)
	})
}

// TestUpgradeRefused: tables of a later version, or of which some were taken
// away, are left as they are. To make a lost table of cursors anew would lose
// changes in silence.
func TestUpgradeRefused(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := store.Config{Dialect: s.Dialect, Realms: []string{"ticket", "wiki"}}
		for statement, says := range map[string]string{
			"UPDATE journal_facts SET schema_version = 3": "of version 3, this library knows version 2",
			"UPDATE journal_facts SET schema_version = 0": "of version 0, this library knows version 2",
			"DROP TABLE journal_once":                     "journal_once is missing",
			"DROP TABLE journal_aside":                    "journal_aside is missing",
		} {
			db := s.New(t)
			_, err := store.Open(t.Context(), db, config)
			require.NoError(t, err)
			_, err = db.Exec(statement)
			require.NoError(t, err)
			more := config
			more.Realms = append(more.Realms[:2:2], "milestone")
			_, err = store.Open(t.Context(), db, more)
			assert.ErrorIs(t, err, store.ErrSchema, statement)
			assert.ErrorContains(t, err, says)
			_, err = db.Exec("SELECT * FROM milestone_journal")
			assert.Error(t, err, "%s: a table was made", statement)
		}
		db := s.New(t)
		_, err := store.Open(t.Context(), db, config)
		require.NoError(t, err)
		for _, table := range []string{"journal_facts", "journal_transaction"} {
			_, err := db.Exec("DROP TABLE " + table)
			require.NoError(t, err)
		}
		_, err = store.Open(t.Context(), db, config)
		assert.ErrorIs(t, err, store.ErrSchema)
		assert.ErrorContains(t, err, "journal_facts is missing, although journal_once is there")
	})
}
