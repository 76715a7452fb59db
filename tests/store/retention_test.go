package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// a past is what a journal had: the naive model that pruning is compared with.
type past struct {
	t       *testing.T
	random  *rand.Rand
	st      tables
	db      *sql.DB
	dialect string

	transactions []transaction // that stay, the oldest first
	end          int64         // the last tid that was taken
	floor        int64
	consumers    map[string]int64 // up to which tid each is done
	dead         []int64          // the tids of dead letters
}

type transaction struct {
	tid int64
	at  []time.Time // of each change
}

// commit writes transactions, and what is between them where one was rolled back: nothing on
// PostgreSQL, elsewhere a row that is of no change. Of chances to, one in gaps is taken.
func (p *past) commit(n, gaps int, made func() time.Time) {
	p.t.Helper()
	var rows []string
	row := func(tid int64, seq, changes int, realm, id string, at int64) {
		rows = append(rows, fmt.Sprintf("(%d, %d, %d, 'm%d', 'o', '%s', '%s', 'changed', %d, '', '', 0, '', 0, '%s')", tid, seq, changes, tid, realm, id, at, document))
	}
	for range n {
		for p.end++; p.random.IntN(gaps) == 0; p.end++ {
			if p.dialect != "postgresql" {
				row(p.end, 0, 0, "", "", 0)
			}
		}
		t := transaction{tid: p.end}
		for seq := range 1 + p.random.IntN(3) {
			t.at = append(t.at, made())
			row(p.end, seq, 3, twoRealms[seq%2], "a", t.at[seq].UnixMicro())
		}
		p.transactions = append(p.transactions, t)
	}
	if p.dialect != "postgresql" && p.random.IntN(gaps) == 0 { // the last row
		p.end++
		row(p.end, 0, 0, "", "", 0)
	}
	for some := range slices.Chunk(rows, 500) {
		_, err := p.db.Exec(p.st.SQL(`INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document) VALUES ` + strings.Join(some, ", ")))
		require.NoError(p.t, err)
	}
	count(p.t, p.db, p.dialect, p.end)
}

// someTid returns the tid of a transaction that stays.
func (p *past) someTid() int64 {
	return p.transactions[p.random.IntN(len(p.transactions))].tid
}

// consume moves a consumer, or adds one, to a transaction, or into it.
func (p *past) consume(name string) {
	tid, partial := p.someTid(), p.random.IntN(2)
	require.NoError(p.t, p.st.AddConsumer(p.t.Context(), name, store.Place{}))
	_, err := p.db.Exec(p.st.SQL(fmt.Sprintf("UPDATE {journal_consumer} SET tid = %d, commit_id = 'm%d', partial = %d WHERE name = '%s'", tid, tid, partial, name)))
	require.NoError(p.t, err)
	p.consumers[name] = tid - int64(partial)
}

// bury makes a dead letter.
func (p *past) bury() {
	tid := p.someTid()
	_, err := p.db.Exec(p.st.SQL(fmt.Sprintf(`INSERT INTO {journal_dead_letter} (name, tid, seq, commit_id, realm, id, error, attempts, since, redeliver)
		VALUES ('dead%d', %d, 0, 'm%d', 'ticket', 'a', '', 1, 0, 0)`, len(p.dead), tid, tid)))
	require.NoError(p.t, err)
	p.dead = append(p.dead, tid)
}

// madeBefore is the tid up to which all is older than an age.
func (p *past) madeBefore(age time.Duration, now time.Time) (tid int64) {
	since, young := now.Add(-age), int64(1)<<48
	for _, t := range slices.Backward(p.transactions) {
		for _, at := range t.at {
			if !at.Before(since) && !at.After(now) {
				young = t.tid
			}
		}
	}
	for _, t := range p.transactions {
		for _, at := range t.at {
			if at.Before(since) && t.tid < young {
				tid = t.tid
			}
		}
	}
	return tid
}

// prune says how many go by a rule, and takes them away.
func (p *past) prune(r retention.Rule) (deleted int64) {
	now := time.Now()
	keep := min(max(int(r.KeepLast), 1), len(p.transactions))
	upTo := p.transactions[len(p.transactions)-keep].tid - 1
	if r.KeepFor > 0 {
		upTo = min(upTo, p.madeBefore(r.KeepFor, now))
	}
	if len(p.consumers) > 0 {
		slowest := int64(1) << 48
		for _, tid := range p.consumers {
			slowest = min(slowest, tid)
		}
		for _, tid := range p.dead {
			if tid > p.floor {
				slowest = min(slowest, tid-1)
			}
		}
		if r.DropUnconsumedAfter > 0 {
			slowest = max(slowest, p.madeBefore(r.DropUnconsumedAfter, now))
		}
		upTo = min(upTo, slowest)
	}
	for len(p.transactions) > 0 && p.transactions[0].tid <= upTo {
		p.transactions = p.transactions[1:]
		deleted++
	}
	p.floor = max(p.floor, upTo)
	return deleted
}

// check compares what is there.
func (p *past) check(what string) {
	p.t.Helper()
	var want []int64
	for _, t := range p.transactions {
		want = append(want, t.tid)
	}
	rows, err := p.db.Query(p.st.SQL("SELECT DISTINCT tid FROM {journal_change} WHERE changes > 0 ORDER BY tid"))
	require.NoError(p.t, err)
	defer rows.Close()
	var got []int64
	for rows.Next() {
		var tid int64
		require.NoError(p.t, rows.Scan(&tid))
		got = append(got, tid)
	}
	require.NoError(p.t, rows.Err())
	require.Equal(p.t, want, got, what)
	floor, err := p.st.PrunedTo(p.t.Context(), p.db)
	require.NoError(p.t, err)
	require.Less(p.t, floor, want[0], what)
	p.floor = floor // it may be after a gap, or before one
}

// TestPruneKeeps prunes journals by rules of all kinds, round by round, and compares what stays
// with what a naive model says: with gaps, ages, consumers and dead letters, by many
// processes, and when the oldest were deleted by hand meanwhile.
func TestPruneKeeps(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for seed := range uint64(12) {
			random := rand.New(rand.NewPCG(seed, 13))
			st, db := open(t, s)
			p := &past{t: t, random: random, st: st, db: db, dialect: s.Dialect, consumers: map[string]int64{}}
			made := func() time.Time {
				age := []time.Duration{100 * time.Hour, 50 * time.Hour, 10 * time.Hour, time.Hour, -30 * time.Hour}
				at := min(p.end/8, 3) // about as old as it ought to be
				if random.IntN(4) == 0 {
					at = random.Int64N(5)
				}
				return time.Now().Add(-age[at])
			}
			p.commit(1+random.IntN(30), 4, made)
			for round := range 12 {
				what := fmt.Sprintf("seed %d, round %d", seed, round)
				p.commit(random.IntN(10), 2+random.IntN(4), made)
				if random.IntN(3) == 0 {
					p.consume(fmt.Sprintf("c%d", random.IntN(2)))
				}
				if random.IntN(6) == 0 {
					p.bury()
				}
				if n := random.IntN(3); s.Dialect != "mysql" && random.IntN(4) == 0 && n < len(p.transactions)-1 { // by hand: MySQL would wait for them
					p.transactions = p.transactions[n:]
					_, err := db.Exec(st.SQL(fmt.Sprintf("DELETE FROM {journal_change} WHERE tid < %d", p.transactions[0].tid)))
					require.NoError(t, err)
				}
				ages := []time.Duration{0, 0, 5 * time.Hour, 20 * time.Hour, 60 * time.Hour}
				rule := retention.Rule{KeepFor: ages[random.IntN(5)], KeepLast: random.Int64N(25), DropUnconsumedAfter: ages[random.IntN(5)]}
				want := p.prune(rule)
				if random.IntN(3) == 0 { // another process
					other, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: []string{"other"}})
					require.NoError(t, err)
					st.Store = other
				}
				got, err := retention.Of(st.Store, db).Prune(t.Context(), rule, st.SlowestConsumer)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s: %+v", what, rule)
				p.check(what)
			}
		}
	})
}

// TestPruneMany: more than one statement takes, with gaps among them, by number and by age.
func TestPruneMany(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, db := open(t, s)
		p := &past{t: t, random: rand.New(rand.NewPCG(1, 2)), st: st, db: db, dialect: s.Dialect, consumers: map[string]int64{}}
		p.commit(2500, 5, func() time.Time { return time.Now().Add(-100 * time.Hour) })
		p.commit(2500, 5, func() time.Time { return time.Now().Add(-10 * time.Hour) })
		for _, rule := range []retention.Rule{{KeepLast: 4990}, {KeepLast: 3700}, {KeepFor: 50 * time.Hour}, {KeepLast: 1300}, {KeepFor: time.Hour}} {
			want := p.prune(rule)
			got, err := retention.Of(st.Store, db).Prune(t.Context(), rule, st.SlowestConsumer)
			require.NoError(t, err)
			require.Equal(t, want, got)
			p.check(fmt.Sprint(rule))
		}
		assert.Len(t, p.transactions, 1)
	})
}

// TestPruneInterrupted has a process die when it has said what is pruned, and before that is
// deleted: the next one deletes it too, although nothing else is to go.
func TestPruneInterrupted(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		db := s.Open(t, dsn)
		st, err := openTables(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
		require.NoError(t, err)
		fill(t, st, db, s.Dialect, 9)
		died := errors.New("died")
		dying := s.Hooked(t, dsn, func(_ context.Context, query string) error {
			if strings.Contains(query, "DELETE") {
				return died
			}
			return nil
		})
		other, err := store.Open(t.Context(), dying, store.Config{Dialect: s.Dialect, Realms: twoRealms})
		require.NoError(t, err)
		rule := retention.Rule{KeepLast: 4}
		n, err := retention.Of(other, dying).Prune(t.Context(), rule, st.SlowestConsumer)
		require.ErrorIs(t, err, died)
		assert.Zero(t, n)
		assert.EqualValues(t, 5, one[int64](t, db, "SELECT floor FROM journal_facts"))
		n, err = retention.Of(st.Store, db).Prune(t.Context(), rule, st.SlowestConsumer)
		require.NoError(t, err)
		assert.EqualValues(t, 5, n)
		assert.Equal(t, 4, one[int](t, db, "SELECT count(DISTINCT tid) FROM journal_change"))
	})
}

// TestPruneRewound: a number that was counted in a history that is gone is not counted on.
func TestPruneRewound(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, db := open(t, s)
		fill(t, st, db, s.Dialect, 20)
		prune := func(keep, want int64) {
			t.Helper()
			n, err := retention.Of(st.Store, db).Prune(t.Context(), retention.Rule{KeepLast: keep}, st.SlowestConsumer)
			require.NoError(t, err)
			assert.Equal(t, want, n)
		}
		prune(15, 5)
		_, err := db.Exec(st.SQL("DELETE FROM {journal_change} WHERE tid > 10"))
		require.NoError(t, err)
		next := int64(11)
		if s.Dialect == "postgresql" {
			next = 31
		}
		for tid := next; tid < next+4; tid++ {
			put(t, st.Store, db, tid, 0, 1, "ticket", "a", 1)
		}
		count(t, db, s.Dialect, next+3)
		prune(8, 1)
	})
}

// TestPruneTogether has many prune, and one of them write: there are never fewer than all of
// them keep.
func TestPruneTogether(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const keep, rounds = 20, 40
		st, db := open(t, s)
		var working sync.WaitGroup
		var deleted [3]int64
		written := make(chan struct{})
		for w := range deleted {
			working.Go(func() {
				for over := false; !over; {
					select {
					case <-written:
						over = true
					default:
					}
					n, err := retention.Of(st.Store, db).Prune(t.Context(), retention.Rule{KeepLast: keep}, st.SlowestConsumer)
					if !assert.NoError(t, err) {
						return
					}
					deleted[w] += n
				}
			})
		}
		for round := range rounds {
			for range 5 {
				_, _, err := st.Append(t.Context(), db, fmt.Sprint(round), "o", []store.Change{{Realm: "ticket", ID: "1", Kind: "changed", Document: document}}, false)
				require.NoError(t, err)
			}
			left := one[int](t, db, "SELECT count(*) FROM journal_change")
			assert.GreaterOrEqual(t, left, min(keep, 5*(round+1)))
		}
		close(written)
		working.Wait()
		assert.Equal(t, keep, one[int](t, db, "SELECT count(*) FROM journal_change"))
	})
}

// rowsRead returns how many rows of journal_change and its indexes a database has read, as its
// own statistics say. Only MariaDB's are of the connection.
func rowsRead(t *testing.T, db *sql.DB, dialect string) (n int64) {
	t.Helper()
	if dialect == "postgresql" {
		_, err := db.Exec("SELECT pg_stat_force_next_flush()")
		require.NoError(t, err)
		return one[int64](t, db, "SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'journal_change') + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'journal_change')")
	}
	rows, err := db.Query("SHOW SESSION STATUS LIKE 'Handler_read%'")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var some int64
		require.NoError(t, rows.Scan(&name, &some))
		n += some
	}
	require.NoError(t, rows.Err())
	return n
}

// TestPruneCost: how many rows the database looks at does not depend on how many stay. SQLite
// does not say how many; there each statement has to search its rows by a range that ends.
func TestPruneCost(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		rules := map[string]func(stay int64) retention.Rule{
			"by number":         func(stay int64) retention.Rule { return retention.Rule{KeepLast: stay} },
			"by age":            func(int64) retention.Rule { return retention.Rule{KeepFor: 50 * time.Hour} },
			"by number and age": func(stay int64) retention.Rule { return retention.Rule{KeepLast: stay, KeepFor: time.Hour} },
			"for a slow consumer": func(stay int64) retention.Rule {
				return retention.Rule{KeepLast: stay / 2, KeepFor: time.Hour, DropUnconsumedAfter: 50 * time.Hour}
			},
			"for a consumer that must have all": func(stay int64) retention.Rule { return retention.Rule{KeepLast: stay / 2, KeepFor: time.Hour} },
		}
		for name, rule := range rules {
			t.Run(name, func(t *testing.T) {
				costs := map[int]int64{}
				const small, large, goes = 2000, 8000, 100
				for _, size := range []int{small, large} {
					dsn := s.DSN(s.Name())
					var asked []string
					db := s.Hooked(t, dsn, func(_ context.Context, query string) error {
						if strings.Contains(query, "journal_change") && !strings.HasPrefix(query, "EXPLAIN") {
							asked = append(asked, query)
						}
						return nil
					})
					db.SetMaxOpenConns(1) // whose statistics are read
					st, err := openTables(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
					require.NoError(t, err)
					p := &past{t: t, random: rand.New(rand.NewPCG(1, 2)), st: st, db: db, dialect: s.Dialect, consumers: map[string]int64{}}
					p.commit(2*goes, 100, func() time.Time { return time.Now().Add(-100 * time.Hour) })
					p.commit(size, 10_000, func() time.Time { return time.Now().Add(-10 * time.Hour) })
					if strings.Contains(name, "consumer") {
						require.NoError(t, st.AddConsumer(t.Context(), "slow", store.Place{TID: p.transactions[goes].tid}))
					}
					analyze := map[string]string{"sqlite": "ANALYZE", "postgresql": "VACUUM ANALYZE journal_change", "mysql": "ANALYZE TABLE journal_change"}[s.Dialect]
					_, err = db.Exec(analyze)
					require.NoError(t, err)
					prune := func(stay int) {
						_, err := retention.Of(st.Store, db).Prune(t.Context(), rule(int64(stay)), st.SlowestConsumer)
						require.NoError(t, err)
					}
					prune(len(p.transactions)) // counts what it has not counted yet
					if s.Dialect == "sqlite" {
						asked = nil
						prune(size + goes)
						searchesOnly(t, db, asked)
						continue
					}
					before := rowsRead(t, db, s.Dialect)
					prune(size + goes)
					costs[size] = rowsRead(t, db, s.Dialect) - before
				}
				t.Logf("rows read: %v", costs)
				const planning = 10 * goes // PostgreSQL looks at both ends of an index, behind what was deleted
				assert.LessOrEqual(t, costs[large], costs[small]+planning)
			})
		}
	})
}

// searchesOnly looks at how SQLite runs statements.
func searchesOnly(t *testing.T, db *sql.DB, asked []string) {
	t.Helper()
	require.NotEmpty(t, asked)
	for _, query := range asked {
		args := make([]any, strings.Count(query, "?"))
		rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
		require.NoError(t, err, query)
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
			plan = append(plan, detail)
		}
		require.NoError(t, cmp.Or(rows.Err(), rows.Close()))
		assert.NotContains(t, strings.Join(plan, "; "), "SCAN journal_change", "%s: %v", query, plan)
	}
}
