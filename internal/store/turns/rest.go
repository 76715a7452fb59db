package turns

import "time"

// SQLite has those that wait for the database try again and again, up to 100 ms apart. Who
// leaves it for moments only would starve other processes.
const (
	share    = 8                      // of the time that it is held, the part for which it is left alone
	pauses   = time.Millisecond       // at least: shorter ones are not kept to
	longest  = 100 * time.Millisecond // then all have tried who wait for it
	remember = 10 * time.Second       // that others write
)

// rest says when the database is left to others.
type rest struct {
	owed   time.Duration
	until  time.Time // it is
	others time.Time // until then others are thought to write
}

// held says for how long it was not. For a single transaction that matters if others write;
// many after each other are always answered for.
func (r *rest) held(long time.Duration, many bool) {
	now := time.Now()
	if !many && now.After(r.others) {
		return
	}
	if r.owed = min(r.owed+long/share, longest); r.owed >= pauses {
		r.until, r.owed = now.Add(r.owed), 0
	}
}

// met says that others have written.
func (r *rest) met() { r.others = time.Now().Add(remember) }
