// Package stream reads the stream that a publisher appends to. Its one secret is
// how to know what is missing: each entry names the one before it, and what was
// read last is looked for again. It knows ids and fields of entries, but no
// events.
package stream

import (
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// Config says which stream to read, and how patiently. No field may be zero but
// Refill and MaxAnswer.
type Config struct {
	// Key is the stream's.
	Key string

	// PingAfter is how long Redis may take to answer before the connection is
	// given up.
	PingAfter time.Duration

	// MaxBackoff bounds the pause between tries to connect.
	MaxBackoff time.Duration

	// Refill is how long a stream that lost its last entries may take to get
	// them again, while there is a connection.
	Refill time.Duration

	// MaxAnswer bounds an answer with entries, in bytes. Zero means what
	// [guard.Own] has.
	MaxAnswer int
}

// An Item is one step of a loop over [Read]: an entry if it has Fields, a gap if
// it has a Gap, or else an error.
type Item struct {
	// ID is where to go on after this step: the id of an entry, or what Read
	// takes otherwise.
	ID string

	// Fields are those of the entry, whether a publisher appended it or not;
	// [ParseEntry] reads them.
	Fields map[string]any

	// Gap says what may be missing before the next entry.
	Gap *Gap

	// Err says why nothing can be read, once until something can be read.
	// Refused says that it is Redis's answer, and not the connection that was
	// lost; or that an entry is too large to be read, a [TooLargeError].
	Err     error
	Refused bool
}

// A Gap is what may be missing: the changes after the tid After, up to Through.
// Zero means not known.
type Gap struct {
	Reason         Reason
	After, Through int64
}

// Reason says why there is a [Gap].
type Reason int

const (
	// Begun means that the loop begins here, and the caller did not say after which
	// entry.
	Begun Reason = iota + 1
	// Trimmed means that the stream does not have what comes next any more.
	Trimmed
	// Reset means that the stream was emptied or its history went back: what
	// follows may have been yielded before.
	Reset
)

// Read yields the entries after an id, each once, and every gap, until the loop
// is left or ctx ends. After "0" it begins with the oldest entry, after "" with
// the next that will be appended. The error is that after is no id.
func Read(ctx context.Context, client redis.UniversalClient, config Config, after string) (iter.Seq[Item], error) {
	begin, err := beginAfter(after)
	if err != nil {
		return nil, err
	}
	return func(yield func(Item) bool) {
		life := redisconn.WithoutDeadline(ctx)
		l := loop{router: redisconn.NewRouter(client), config: config, yield: yield, place: begin.place, state: begin.state, count: maxBatch}
		for try := 0; ; try++ {
			err := l.session(life)
			if l.left || ctx.Err() != nil {
				return
			}
			if l.readable {
				try = 0
			}
			if l.to != nil && l.sent < maxSent {
				l.sent++
				continue // where the key is
			}
			if l.smaller(err) {
				continue
			}
			if l.failed(err); l.left || !redisconn.Pause(ctx, try, config.MaxBackoff) {
				return
			}
		}
	}, nil
}
