package realtrac_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/capture"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

// TestHistories has Trac's own models make random histories in a database with the triggers, and
// takes in what they wrote after one operation, or three, or ten, or all. The journal then says what
// Trac's own listeners were told. TRACBUS_TRAC_SEEDS says which histories, as with TestDifferential.
func TestHistories(t *testing.T) {
	real := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := real.NewEnvironment(s, fields, "history.* = enabled\ndifferential.* = enabled")
		e.Admin("severity", "add", "bad") // else Trac leaves the field out
		h := &historian{t: t, db: e.Open(t), seeds: sequences(t)}
		h.open(e)
		command := real.Command(append([]string{filepath.Join("testdata", "history.py"), e.Path}, h.seeds...)...)
		said := &bytes.Buffer{}
		command.Stderr = said
		in, err := command.StdinPipe()
		require.NoError(t, err)
		out, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		h.serve(bufio.NewReader(out), in)
		require.NoError(t, in.Close())
		require.NoError(t, command.Wait(), said)
		t.Logf("%d histories, %d events, %d histories differ", h.histories, h.events, h.different)
		assert.Positive(t, h.events)
	})
}

// historian takes in what Trac writes.
type historian struct {
	t       *testing.T
	db      *sql.DB
	journal *tracbus.Journal
	seeds   []string

	head, seed, every, n         int64
	want                         []capture.Told
	histories, events, different int
}

func (h *historian) open(e *realtrac.Environment) {
	config, err := tracbus.LoadConfig(e.Path)
	require.NoError(h.t, err)
	bus := tracbus.NewBus("test")
	h.journal, err = tracbus.OpenJournal(h.t.Context(), e.Open(h.t), bus, tracbus.JournalConfig{
		Dialect: tracbus.Dialect(e.Dialect), Capture: trac.Capture{Install: true},
		Realms: []tracbus.JournalRealm{
			trac.Tickets{CustomFields: config.CustomFields}, tracbus.Pages{}, realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{},
		},
	})
	require.NoError(h.t, err)
	h.t.Cleanup(func() {
		require.NoError(h.t, errors.Join(h.journal.Close(context.Background()), bus.Close(context.Background())))
	})
}

// serve answers each line when what it says is done.
func (h *historian) serve(from *bufio.Reader, to io.Writer) {
	h.t.Helper()
	for {
		text, err := from.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		require.NoError(h.t, err)
		var line struct {
			Begin, End *int64
			Every      int64
			Told       []capture.Told
		}
		require.NoError(h.t, json.Unmarshal(text, &line))
		switch {
		case line.Begin != nil:
			h.seed, h.every, h.n, h.want = *line.Begin, line.Every, 0, nil
			_, err := h.db.ExecContext(h.t.Context(), "DELETE FROM journal_inbox") // nobody was told of what was there before
			require.NoError(h.t, err)
		case line.End != nil:
			h.end()
		default:
			h.want = append(h.want, line.Told...)
			if h.n++; (h.n-1)%h.every == 0 {
				h.takeIn()
			}
		}
		_, err = fmt.Fprintln(to)
		require.NoError(h.t, err)
	}
}

func (h *historian) end() {
	h.t.Helper()
	h.takeIn()
	var got []capture.Told
	for e, err := range h.journal.Since(h.t.Context(), h.head) {
		require.NoError(h.t, err)
		h.head = e.About().TID
		if told, ok := capture.Plain(e); ok {
			got = append(got, told)
		}
	}
	h.histories, h.events = h.histories+1, h.events+len(got)
	if !assert.Equal(h.t, capture.ByResource(h.want), capture.ByResource(got), "seed %d, taken in after every %d", h.seed, h.every) {
		if h.different++; h.different == 5 {
			h.t.FailNow()
		}
	}
}

func (h *historian) takeIn() {
	h.t.Helper()
	require.NoError(h.t, capture.TakeIn(h.t.Context(), h.db, h.journal))
}
