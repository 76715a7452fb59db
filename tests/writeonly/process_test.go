package writeonly_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// hookEnv has this program be a hook.
const hookEnv = "TRACBUS_HOOK_PROCESS"

func TestMain(m *testing.M) {
	if as := os.Getenv(hookEnv); as != "" {
		var h hook
		if err := json.Unmarshal([]byte(as), &h); err == nil {
			err = h.run()
			if err == nil {
				os.Exit(0)
			}
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A hook is a process that commits something and ends.
type hook struct {
	Dialect, Driver, DSN string
	Redis                string // by which it wakes others; "" is none
	Name                 string // begins its comments
	Commits              int    // 0: until it is killed
	Close                bool   // it closes the journal; else it ends after its last commit
}

// run commits, and says a comment when its commit has returned.
func (h hook) run() error {
	ctx := context.Background()
	db, err := (&testdatabase.Server{Dialect: h.Dialect, Driver: h.Driver}).OpenPool(h.DSN)
	if err != nil {
		return err
	}
	config := tracbus.JournalConfig{Dialect: tracbus.Dialect(h.Dialect), WriteOnly: true, Logger: testkit.Quiet}
	if h.Redis != "" {
		config.Waker = tracbus.NewRedisWaker(redis.NewClient(&redis.Options{Addr: h.Redis}))
	}
	bus := tracbus.NewBus("desk")
	tracbus.On(bus, tracbus.Durable("log"), func(context.Context, tracbus.Event) error {
		panic("a hook handles nothing")
	})
	j, err := tracbus.OpenJournal(ctx, db, bus, config)
	if err != nil {
		return err
	}
	for i := 0; h.Commits == 0 || i < h.Commits; i++ {
		comment := fmt.Sprintf("%s.%d", h.Name, i)
		_, err := j.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(ctx, desk.Remark(1, comment))
		})
		if err != nil {
			return err
		}
		fmt.Println(comment)
	}
	if !h.Close {
		return nil // os.Exit comes next: nothing is closed, not even the connection
	}
	if err := j.Close(ctx); err != nil {
		return err
	}
	return bus.Close(ctx)
}

// start starts the hook. It returns what it says, and a function that kills it and one that waits
// for its end.
func (h hook) start(t *testing.T) (said *bufio.Scanner, kill func(), wait func() error) {
	t.Helper()
	as, err := json.Marshal(h)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), hookEnv+"="+string(as))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = &lines{t}
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(out), func() { _ = cmd.Process.Kill() }, cmd.Wait
}

// lines puts what a process complains of into the log of a test.
type lines struct{ t *testing.T }

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(b []byte) (int, error) {
	l.t.Logf("a hook: %s", b)
	return len(b), nil
}
