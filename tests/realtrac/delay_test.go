package realtrac_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pgxbus"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestDelay prints how long it takes from Trac's save to a subscriber of Redis: by polls, and on
// PostgreSQL by a notification too.
func TestDelay(t *testing.T) {
	real := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		delays(t, real, s, "by polls", trac.Capture{Install: true})
		if s.Dialect == "postgresql" {
			delays(t, real, s, "by notifications", trac.Capture{Install: true, Notify: true})
		}
	})
}

const saves = 100

func delays(t *testing.T, real *realtrac.Trac, s *testdatabase.Server, how string, c trac.Capture) {
	t.Helper()
	e := real.NewEnvironment(s)
	db := e.Open(t)
	rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	defer rdb.Close()
	pubsub := rdb.Subscribe(t.Context(), "trac.test.ticket.created")
	defer pubsub.Close()
	_, err := pubsub.Receive(t.Context())
	require.NoError(t, err)

	bus := tracbus.NewBus("test")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
	config := tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), Capture: c}
	if c.Notify {
		listens, err := pgx.ParseConfig(e.DSN())
		require.NoError(t, err)
		config.Waker = pgxbus.WakerConfig{}.NewWakerDB(db, listens)
	}
	j, err := tracbus.OpenJournal(t.Context(), db, bus, config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, errors.Join(<-done, j.Close(context.Background()), bus.Close(context.Background())))
	}()

	command := real.Command(filepath.Join("testdata", "delay.py"), e.Path)
	said := &bytes.Buffer{}
	command.Stderr = said
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	lines := bufio.NewScanner(out)
	var took []time.Duration
	for n := range saves {
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		require.True(t, lines.Scan(), said)
		var number int
		var saved string
		_, err = fmt.Sscan(lines.Text(), &number, &saved)
		require.NoError(t, err)
		require.Equal(t, n, number)
		message, err := pubsub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		heard := time.Now()
		assert.Contains(t, message.Payload, fmt.Sprintf(`"summary":"%d"`, n))
		seconds, err := strconv.ParseFloat(saved, 64)
		require.NoError(t, err)
		took = append(took, heard.Sub(time.UnixMicro(int64(seconds*1e6))))
	}
	require.NoError(t, in.Close())
	require.NoError(t, command.Wait(), said)
	slices.Sort(took)
	t.Logf("%s: median %v, p99 %v", how, took[saves/2].Round(10*time.Microsecond), took[saves*99/100].Round(10*time.Microsecond))
}
