package journal_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCommitOnARestartedServer: the answer to COMMIT is lost, the server is killed and
// starts again, and a stranger gets the number of the connection. The outcome is known.
func TestCommitOnARestartedServer(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	d := sitFarAway(t, s, testdatabase.MySQLParameters)
	d.Say(t, "first", 1)
	var session int64
	result := make(chan error, 1)
	var tid int64
	go func() {
		var err error
		tid, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			ctx := testkit.Within(t)
			if err := tx.SQL().QueryRowContext(ctx, "SELECT connection_id()").Scan(&session); err != nil {
				return err
			}
			if err := tx.Record(ctx, desk.Remark(1, "landed")); err != nil {
				return err
			}
			d.proxy.DropReplies()
			return nil
		})
		result <- err
	}()
	testkit.Until(t, "it is committed", func() bool { return stored(t, d.direct, "landed") == 1 })
	testkit.Until(t, "it starts again in another second", func() bool {
		var name string
		var up int
		require.NoError(t, d.direct.QueryRow("SHOW STATUS LIKE 'Uptime'").Scan(&name, &up))
		return up > 1
	})
	d.proxy.Refuse()
	s.MariaDB.Restart()

	strangers, err := sql.Open(s.Driver, s.MariaDB.DSN("mysql"))
	require.NoError(t, err)
	defer strangers.Close()
	for id := int64(0); id < session; {
		conn, err := strangers.Conn(testkit.Within(t))
		require.NoError(t, err)
		require.NoError(t, conn.QueryRowContext(context.Background(), "SELECT connection_id()").Scan(&id))
	}
	d.proxy.Resume()
	d.proxy.Accept()
	d.proxy.Cut()
	require.NoError(t, <-result)
	assert.NotZero(t, tid)
}
