package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestOpenTogether: of processes that open a journal on an empty database at once,
// all find it made, and it is one.
func TestOpenTogether(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for range 2 {
			dsn := s.DSN(s.Name())
			var opened sync.WaitGroup
			uuids := make([]string, 12)
			for i := range uuids {
				db := s.Open(t, dsn)
				opened.Go(func() {
					st, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
					if assert.NoError(t, err) {
						uuids[i] = st.UUID()
					}
				})
			}
			opened.Wait()
			for _, uuid := range uuids {
				assert.Equal(t, uuids[0], uuid)
			}
		}
	})
}

// TestOpenBetween: a process opens an empty journal, and before it looks which tables
// there are, and looks again, another one makes all of them, or waits until it may.
func TestOpenBetween(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := store.Config{Dialect: s.Dialect, Realms: []string{"ticket"}}
		for look, last := 1, false; !last; look++ {
			dsn := s.DSN(s.Name())
			other := s.Open(t, dsn)
			var opened sync.WaitGroup
			n := 0
			db := s.Hooked(t, dsn, func(_ context.Context, query string) error {
				if !strings.Contains(query, "information_schema.tables") && !strings.Contains(query, "sqlite_master") {
					return nil
				}
				if n++; n != look {
					return nil
				}
				made := make(chan struct{})
				opened.Go(func() {
					defer close(made)
					_, err := store.Open(t.Context(), other, config)
					assert.NoError(t, err, "the other, before look %d", look)
				})
				select {
				case <-made:
				case <-time.After(time.Second): // it waits for this one
				}
				return nil
			})
			_, err := store.Open(t.Context(), db, config)
			require.NoError(t, err, "look %d", look)
			opened.Wait()
			last = n < look
		}
	})
}
