package consumer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus/internal/checkpoint"
	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Memory is what a process remembers about a consumer from one run of its
// journal to the next, and how the consumer's [Runner] learns what happens to the
// journal. If the database no longer has what is remembered, the listener was called
// with it all the same.
type Memory struct {
	kick      chan struct{} // holds one token: there may be something to do
	redeliver atomic.Bool   // there may be dead letters to be redelivered

	mu     sync.Mutex
	start  store.Place // where the consumer begins if the journal does not know it
	begun  bool        // start is known
	missed error       // why a Resync is due before the next change
	back   store.Place // to which the history went back since the consumer was last known to exist
	backAt time.Time   // when that was noticed; zero: it did not

	// Only the runner uses what follows.
	seen          bool            // the journal has, or had, the consumer
	highest       observation     // of its row
	checkpoints   checkpoint.List // what the listener has handled in this process
	delivered     store.Place     // the last change that it has handled, if only a part of the transaction
	gone          store.Place     // that the journal was last noticed to have lost
	stored        progress.Cursor // that this process stored last
	pendingResync *delivery.Gap   // due before the next change
}

// observation is what a consumer's row was seen to be, and since when it has not
// changed: a database clock that was set back must not keep a lease for ever.
type observation struct {
	token, heartbeat int64
	since            time.Time
}

// NewMemory returns the memory of a consumer that was registered just now.
func NewMemory() *Memory { return &Memory{kick: make(chan struct{}, 1)} }

// Begin notes where the consumer begins if it is new: at the first place that is
// given.
func (m *Memory) Begin(at store.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.begun {
		m.start, m.begun = at, true
	}
	signal(m.kick)
}

// Rewound notes that the journal's history went back to a place under this process. It
// may have gone back to before the consumer was made, which then begins there.
func (m *Memory) Rewound(to store.Place, err error) {
	m.mu.Lock()
	if m.backAt.IsZero() || to.TID < m.back.TID {
		m.back = to
	}
	m.backAt = time.Now()
	m.mu.Unlock()
	m.Missed(err)
}

// existed notes that the journal had the consumer when that was asked for, at a moment.
func (m *Memory) existed(asked time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.backAt.Before(asked) {
		m.backAt = time.Time{}
	}
}

// within returns a place, or that which the history went back to before it since the
// consumer was last known to exist.
func (m *Memory) within(p store.Place) store.Place {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.backAt.IsZero() && m.back.TID < p.TID {
		return m.back
	}
	return p
}

// Missed notes that the journal's history went back under this process.
func (m *Memory) Missed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missed = err
	signal(m.kick)
}

// signal leaves a token unless one lies there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
