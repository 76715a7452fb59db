package store_test

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestOrderWhileManyClose has many write, some of whom roll back when they have a tid, and
// some read, under each isolation that a session may have by default, and each way in which
// InnoDB hands out numbers. Who reads sees every commit once, in one order, and those of one
// resource in the order in which they were made under its lock.
func TestOrderWhileManyClose(t *testing.T) {
	for _, mode := range []string{"1", "2"} {
		t.Run("innodb_autoinc_lock_mode "+mode, func(t *testing.T) {
			s := &testdatabase.Server{Dialect: "mysql", Driver: "mysql", MariaDB: testserver.MariaDB(t, testserver.MariaDBOptions{Args: []string{"--innodb-autoinc-lock-mode=" + mode}})}
			var name, value string // the version's
			require.NoError(t, s.New(t).QueryRow("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')").Scan(&name, &value))
			for _, level := range []string{"READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"} {
				t.Run(level, func(t *testing.T) {
					testOrderWhileManyClose(t, s, s.DSN(s.Name())+"&"+name+"="+url.QueryEscape("'"+level+"'"))
				})
			}
		})
	}
}

const (
	raceWriters   = 12
	raceCommits   = 40 // of each
	raceResources = 6
)

func testOrderWhileManyClose(t *testing.T, s *testdatabase.Server, dsn string) {
	st, db := openOn(t, s, dsn)
	_, err := db.Exec("CREATE TABLE resource (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
	require.NoError(t, err)
	for id := range raceResources {
		_, err := db.Exec("INSERT INTO resource VALUES (?, 0)", id)
		require.NoError(t, err)
	}
	db.SetMaxIdleConns(raceWriters)
	var made sync.Map // what was committed, by its commit id
	var commits, undone atomic.Int64
	work := func(random *mathrand.Rand) error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		id, n := random.IntN(raceResources), 0
		if _, err := tx.Exec("UPDATE resource SET n = n + 1 WHERE id = ?", id); err != nil {
			return err
		}
		if err := tx.QueryRow("SELECT n FROM resource WHERE id = ?", id).Scan(&n); err != nil {
			return err
		}
		c := store.Change{Realm: "ticket", ID: strconv.Itoa(id), Kind: "changed", Time: int64(n), Document: document}
		commitID := rand.Text()
		all := make([]store.Change, 1+random.IntN(3))
		for i := range all {
			all[i] = c
		}
		if _, _, err := st.Append(t.Context(), tx, commitID, "o", all, false); err != nil {
			return err
		}
		if random.IntN(4) == 0 {
			undone.Add(1)
			return nil
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		commits.Add(1)
		made.Store(commitID, fmt.Sprintf("resource %d, change %d", id, n))
		return nil
	}
	var writing, reading sync.WaitGroup
	for range raceWriters {
		random := mathrand.New(mathrand.NewPCG(mathrand.Uint64(), 0))
		writing.Go(func() {
			for range raceCommits {
				if err := work(random); err != nil && !assert.ErrorContains(t, err, "1213", "a deadlock of the test's own rows at most") {
					return
				}
			}
		})
	}
	done := make(chan struct{})
	reads := make([][]store.Place, 3)
	orders := make([]map[string][]int64, len(reads))
	for i := range reads {
		reader, own := openOn(t, s, dsn)
		orders[i] = map[string][]int64{}
		reading.Go(func() {
			var at store.Place
			for over := false; ; {
				select {
				case <-done:
					over = true
				default:
				}
				b, err := reader.Read(t.Context(), own, at, 20, twoRealms)
				if !assert.NoError(t, err) {
					return
				}
				for _, c := range b.Changes {
					if assert.NoError(t, c.Damage) && c.Seq == 0 {
						orders[i][c.ID] = append(orders[i][c.ID], c.Time)
					}
				}
				if reads[i] = append(reads[i], b.Places...); len(b.Places) > 0 {
					at = b.Places[len(b.Places)-1]
				}
				if end, err := reader.End(t.Context(), own); over && len(b.Places) == 0 && err == nil && end == at {
					var last int64
					if err := own.QueryRow("SELECT max(tid) FROM journal_change").Scan(&last); err == nil && last == at.TID {
						return
					}
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	t.Logf("%d committed, %d rolled back", commits.Load(), undone.Load())
	assert.NotZero(t, undone.Load())
	for i, places := range reads {
		assert.Equal(t, reads[0], places, "all read the same")
		seen := map[string]bool{}
		for _, p := range places {
			assert.False(t, seen[p.CommitID], "twice: tid %d", p.TID)
			seen[p.CommitID] = true
		}
		made.Range(func(commitID, what any) bool {
			return assert.True(t, seen[commitID.(string)], "lost: %s", what)
		})
		for id, order := range orders[i] {
			for n, made := range order {
				assert.EqualValues(t, n+1, made, "the changes of resource %s: %v", id, order)
			}
		}
	}
}
