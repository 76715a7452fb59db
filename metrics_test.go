package tracbus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

func TestMetrics(t *testing.T) {
	s := tracbus.JournalStatus{
		Head: 1<<48 - 1, Position: 17, PrunedTo: 3, Running: true,
		Blockers: []tracbus.Blocker{{Session: "pid 4", Age: 1500 * time.Millisecond}},
		Consumers: []tracbus.ConsumerStatus{
			{Name: "mail", TID: 15, Lag: 2, LagAge: 250 * time.Millisecond, Holder: "web1, pid 7", HeldHere: true, LeaseRemaining: time.Second, LeaseAge: time.Minute, DeadLetters: 1},
			{Name: "redis", TID: 9, Lag: 8, LagAge: time.Hour, Err: "no route", FailingFor: 90 * time.Second, LeaseAge: -time.Second},
		},
	}
	var b strings.Builder
	require.NoError(t, tracbus.WriteMetrics(&b, s.Metrics()))
	var lines []string
	for l := range strings.Lines(b.String()) {
		if l = strings.TrimSuffix(l, "\n"); !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	assert.Equal(t, []string{
		"tracbus_journal_head_tid 281474976710655",
		"tracbus_journal_place_tid 17",
		"tracbus_journal_floor_tid 3",
		"tracbus_journal_held_seconds 1.5",
		"tracbus_journal_followed 1",
		`tracbus_once_tid{once="mail"} 15`,
		`tracbus_once_tid{once="redis"} 9`,
		`tracbus_once_lag_changes{once="mail"} 2`,
		`tracbus_once_lag_changes{once="redis"} 8`,
		`tracbus_once_lag_seconds{once="mail"} 0.25`,
		`tracbus_once_lag_seconds{once="redis"} 3600`,
		`tracbus_once_held{once="mail"} 1`,
		`tracbus_once_held{once="redis"} 0`,
		`tracbus_once_mine{once="mail"} 1`,
		`tracbus_once_mine{once="redis"} 0`,
		`tracbus_once_held_seconds{once="mail"} 60`,
		`tracbus_once_held_seconds{once="redis"} 0`,
		`tracbus_once_failing_seconds{once="mail"} 0`,
		`tracbus_once_failing_seconds{once="redis"} 90`,
		`tracbus_once_set_aside_changes{once="mail"} 1`,
		`tracbus_once_set_aside_changes{once="redis"} 0`,
	}, lines)
	assert.Equal(t, 13, strings.Count(b.String(), "# HELP "), "each name is explained once")
	assert.Contains(t, b.String(), "# TYPE tracbus_once_tid gauge\n")

	s.Err = errors.New("the database is away")
	for m := range s.Metrics() {
		if m.Name == "tracbus_journal_followed" {
			assert.Zero(t, m.Value)
			return
		}
	}
	t.Fatal("there is no such metric")
}

func TestWriteMetricsEscapes(t *testing.T) {
	odd := func(yield func(tracbus.Metric) bool) {
		_ = yield(tracbus.Metric{
			Name: "odd", Help: "a \\ b\nc", Value: 0.5,
			Labels: []tracbus.Label{{Name: "z", Value: "\"quoted\"\n"}, {Name: "a", Value: `\`}},
		})
	}
	var b strings.Builder
	require.NoError(t, tracbus.WriteMetrics(&b, odd))
	assert.Equal(t, "# HELP odd a \\\\ b\\nc\n# TYPE odd gauge\nodd{a=\"\\\\\",z=\"\\\"quoted\\\"\\n\"} 0.5\n", b.String())

	err := tracbus.WriteMetrics(fullDisk{}, odd)
	assert.ErrorContains(t, err, "write metrics: no space left")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }
