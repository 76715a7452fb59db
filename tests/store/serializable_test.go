package store_test

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestSerializable: where every session is SERIALIZABLE by default, holders move their
// cursors and names are added at the same time, and none of them fails.
func TestSerializable(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			if dialect == "mysql" {
				var name, value string // the version's
				require.NoError(t, s.Open(t, dsn).QueryRow("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')").Scan(&name, &value))
				dsn += "&" + name + "=" + url.QueryEscape("'SERIALIZABLE'")
			} else {
				dsn += "&default_transaction_isolation=serializable"
			}
			st, err := openTables(t.Context(), s.Open(t, dsn), store.Config{Dialect: dialect, Realms: twoRealms})
			require.NoError(t, err)
			var working sync.WaitGroup
			for h := range 4 {
				working.Go(func() {
					name := fmt.Sprint("holder", h)
					if !assert.NoError(t, st.AddConsumer(t.Context(), name, store.Place{})) {
						return
					}
					c, _, err := st.FindConsumer(t.Context(), name)
					assert.NoError(t, err)
					token, taken, err := st.AcquireLease(t.Context(), c, "me", time.Minute, false)
					if !assert.NoError(t, err) || !assert.True(t, taken) {
						return
					}
					for i := range 20 {
						held, err := st.RenewLease(t.Context(), name, token, time.Minute)
						if !assert.NoError(t, err) || !assert.True(t, held) {
							return
						}
						if !assert.NoError(t, st.AddConsumer(t.Context(), fmt.Sprint("name", i), store.Place{})) {
							return
						}
						_, err = st.Consumers(t.Context())
						if !assert.NoError(t, err) {
							return
						}
					}
				})
			}
			working.Wait()
		})
	}
}

// TestSerializableRow: a holder's statement waits for the row of its consumer, which
// another one changes. PostgreSQL refuses that under such an isolation.
func TestSerializableRow(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	other := s.Open(t, dsn)
	st, err := openTables(t.Context(), s.Open(t, dsn+"&default_transaction_isolation=serializable"), store.Config{Dialect: "postgresql", Realms: twoRealms})
	require.NoError(t, err)
	require.NoError(t, st.AddConsumer(t.Context(), "mail", store.Place{}))
	c, _, err := st.FindConsumer(t.Context(), "mail")
	require.NoError(t, err)
	token, taken, err := st.AcquireLease(t.Context(), c, "me", time.Minute, false)
	require.NoError(t, err)
	require.True(t, taken)

	changing, err := other.Begin()
	require.NoError(t, err)
	_, err = changing.Exec("UPDATE journal_consumer SET heartbeat = heartbeat + 1")
	require.NoError(t, err)
	noted := make(chan error, 1)
	go func() { noted <- st.NoteFailure(t.Context(), "mail", token, "out of paper") }()
	testkit.Until(t, "it waits for the row", func() bool {
		return one[int](t, s.Open(t, dsn), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'") == 1
	})
	require.NoError(t, changing.Commit())
	require.NoError(t, <-noted)
	c, _, err = st.FindConsumer(t.Context(), "mail")
	require.NoError(t, err)
	assert.Equal(t, "out of paper", c.Error)
}
