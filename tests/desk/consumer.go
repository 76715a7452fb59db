package desk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// deadLetters returns what is set aside, as "comment tries retrying", by resource.
func (d *Desk) ListDeadLetters(t *testing.T) (all []tracbus.DeadLetter, short []string) {
	t.Helper()
	for a, err := range d.DeadLetters(testkit.Within(t), "log") {
		require.NoError(t, err)
		all = append(all, a)
		short = append(short, fmt.Sprintf("%s tries %d retrying %v", a.Resource, a.Attempts, a.Redelivering))
	}
	return all, short
}

// consumer returns how a name stands.
func (d *Desk) Consumer(t *testing.T, name string) tracbus.ConsumerStatus {
	t.Helper()
	st, err := d.Status(testkit.Within(t))
	require.NoError(t, err)
	for _, o := range st.Consumers {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("the status does not have the name %q", name)
	return tracbus.ConsumerStatus{}
}

// holds waits until a process holds the name.
func (d *Desk) Holds(t *testing.T) {
	t.Helper()
	testkit.Until(t, "it holds the name", func() bool { return d.Consumer(t, "log").HeldHere })
}
