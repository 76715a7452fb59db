package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestOnceRowWentBack: a database that is put back may have a journal that
// contradicts nothing that a process has read, when it had not read far. The
// names' rows tell: the listener may have been told more.
func TestDurableRowWentBack(t *testing.T) {
	for _, later := range []bool{false, true} {
		name := map[bool]string{false: "by the holder of the copy", true: "by a later holder"}[later]
		t.Run(name, func(t *testing.T) {
			testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
				testkit.NoLeaks(t)
				dsn := s.DSN(s.Name())
				log := newDeliveries()
				a := seatConsumer(t, s, dsn, log, tracbus.DurableConfig{LeaseFor: 3 * time.Second})
				b := a
				for i := range 2 {
					a.Say(t, fmt.Sprint("remark ", i+1), 1)
				}
				log.until(t, 2)
				copied := readCursorRow(t, b)
				if later {
					b = seatConsumer(t, s, dsn, log, tracbus.DurableConfig{LeaseFor: 3 * time.Second})
					a.Leave(t)
				}
				b.Say(t, "remark 3", 1)
				log.until(t, 3)
				reach(t, "the place is stored", func() bool { return b.Consumer(t, "log").TID == 3 })

				_, err := b.DB.ExecContext(context.Background(), fmt.Sprintf(
					"UPDATE journal_consumer SET tid = %d, commit_id = '%s', token = %d, heartbeat = %d", copied.tid, copied.mark, copied.epoch, copied.beat))
				require.NoError(t, err)
				b.Say(t, "remark 4", 1)
				reach(t, "all is told", func() bool { return b.Consumer(t, "log").TID == 4 })
				told, _ := log.events()
				var rest []string
				for _, e := range told[3:] {
					if r, ok := e.(tracbus.Resync); ok {
						assert.Equal(t, tracbus.ResyncRewound, r.Reason)
						require.ErrorIs(t, r.Err, tracbus.ErrRewound)
						rest = append(rest, "resync")
					} else {
						rest = append(rest, e.About().Comment)
					}
				}
				assert.Contains(t, rest, "resync")
				assert.Equal(t, []string{"remark 3", "remark 4"}, rest[len(rest)-2:])
			})
		})
	}
}

type cursorRow struct {
	tid, epoch, beat int64
	mark             string
}

func readCursorRow(t *testing.T, d *desk.Desk) (c cursorRow) {
	t.Helper()
	testkit.Scan(t, d.DB, "SELECT tid, commit_id, token, heartbeat FROM journal_consumer", func() {}, &c.tid, &c.mark, &c.epoch, &c.beat)
	return c
}

// TestDurableRowWentBackUnheld puts a consumer's row back, alone, to a state of the same
// lease, when nobody holds the lease any more: neither its token nor its heartbeat shows it.
func TestDurableRowWentBackUnheld(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		log := newDeliveries()
		d := seatConsumer(t, s, s.DSN(s.Name()), log, tracbus.DurableConfig{LeaseFor: time.Second})
		d.Say(t, "remark 1", 1)
		log.until(t, 1)
		reach(t, "the place is stored", func() bool { return d.Consumer(t, "log").TID == 1 })
		copied := readCursorRow(t, d)
		for i := 2; i <= 3; i++ {
			d.Say(t, fmt.Sprint("remark ", i), 1)
		}
		log.until(t, 3)
		reach(t, "the place is stored", func() bool { return d.Consumer(t, "log").TID == 3 })
		d.Pause(t)
		_, err := d.DB.ExecContext(context.Background(), fmt.Sprintf(
			"UPDATE journal_consumer SET tid = %d, commit_id = '%s', token = %d, heartbeat = %d", copied.tid, copied.mark, copied.epoch, copied.beat))
		require.NoError(t, err)
		d.Follow()
		reach(t, "all is told again", func() bool { return d.Consumer(t, "log").TID == 3 })
		told, _ := log.events()
		assert.Equal(t, []string{"remark 1", "remark 2", "remark 3", "(rewound)", "remark 2", "remark 3"}, desk.Briefs(told))
	})
}

// TestDurableDroppedBeginsAnew drops a consumer that begins with the oldest change: it is
// called again with all of them, and is not told that the history went back.
func TestDurableDroppedBeginsAnew(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		log := newDeliveries()
		d := seatConsumer(t, s, s.DSN(s.Name()), log, tracbus.DurableConfig{LeaseFor: time.Second, FromOldest: true})
		d.Say(t, "remark 1", 1)
		d.Say(t, "remark 2", 2)
		log.until(t, 2)
		reach(t, "the place is stored", func() bool { return d.Consumer(t, "log").TID == 2 })
		require.NoError(t, d.DropConsumer(testkit.Within(t), "log"))
		log.until(t, 4)
		told, _ := log.events()
		assert.Equal(t, []string{"remark 1", "remark 2", "remark 1", "remark 2"}, desk.Briefs(told))
	})
}
