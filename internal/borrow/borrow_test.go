package borrow_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/testkit"
)

// TestIterationIsACall: a goroutine that waits for a row, or for the next result, is busy,
// and Return waits for it, rather than read the same rows at the same time.
func TestIterationIsACall(t *testing.T) {
	for name, wait := range map[string]func(*sql.Rows) bool{
		"row":    func(r *sql.Rows) bool { return r.Next() },
		"result": func(r *sql.Rows) bool { return r.NextResultSet() },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			server := &slowServer{asked: make(chan struct{}), answer: make(chan struct{})}
			db := sql.OpenDB(server)
			defer db.Close()
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()

			loan := borrow.Of(conn, nil, false, 0)
			rows, err := loan.QueryContext(context.Background(), "SELECT")
			require.NoError(t, err)
			require.False(t, loan.Busy())
			read := make(chan bool)
			go func() { read <- wait(rows) }()
			<-server.asked
			assert.True(t, loan.Busy())

			returned := make(chan error)
			go func() { returned <- loan.Return(errors.New("over"), time.Hour) }()
			for loan.Ready() == nil { // until Return has begun
				time.Sleep(time.Millisecond)
			}
			close(server.answer)
			<-read
			require.NoError(t, <-returned)
			assert.False(t, loan.Busy())
			require.NoError(t, rows.Close())
		})
	}
}

// slowServer is a driver that answers a query with rows, and is asked for the first of them,
// or for the next result, until answer is closed.
type slowServer struct{ asked, answer chan struct{} }

func (s *slowServer) Connect(context.Context) (driver.Conn, error) { return slowConn{s}, nil }
func (s *slowServer) Driver() driver.Driver                        { return nil }

type slowConn struct{ of *slowServer }

func (c slowConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return slowRows(c), nil
}
func (slowConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not expected") }
func (slowConn) Begin() (driver.Tx, error)           { return nil, errors.New("not expected") }
func (slowConn) Close() error                        { return nil }

type slowRows struct{ of *slowServer }

func (r slowRows) Columns() []string { return []string{"n"} }
func (r slowRows) Close() error      { return nil }

func (r slowRows) Next([]driver.Value) error {
	r.wait()
	return io.EOF
}

func (r slowRows) HasNextResultSet() bool { return false }

func (r slowRows) NextResultSet() error {
	r.wait()
	return io.EOF
}

// wait says once that it was asked.
func (r slowRows) wait() {
	select {
	case r.of.asked <- struct{}{}:
	case <-r.of.answer:
	}
	<-r.of.answer
}
