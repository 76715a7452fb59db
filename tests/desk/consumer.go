package desk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// ListDeadLetters returns the dead letters of the consumer "log", and each of them as
// "resource tries n retrying bool".
func (d *Desk) ListDeadLetters(t *testing.T) (all []tracbus.DeadLetter, short []string) {
	t.Helper()
	for a, err := range d.DeadLetters(testkit.Within(t), "log") {
		require.NoError(t, err)
		all = append(all, a)
		short = append(short, fmt.Sprintf("%s tries %d retrying %v", a.Resource, a.Attempts, a.Redelivering))
	}
	return all, short
}

// Consumer returns the status of a durable consumer.
func (d *Desk) Consumer(t *testing.T, name string) tracbus.ConsumerStatus {
	t.Helper()
	st, err := d.Status(testkit.Within(t))
	require.NoError(t, err)
	for _, o := range st.Consumers {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("the status does not have the consumer %q", name)
	return tracbus.ConsumerStatus{}
}

// Holds waits until this process has the lease of the consumer "log".
func (d *Desk) Holds(t *testing.T) {
	t.Helper()
	testkit.Until(t, "it has the lease", func() bool { return d.Consumer(t, "log").HeldHere })
}
