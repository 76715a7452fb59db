package crash_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// processEnv holds, for a process of a crash campaign, what it is to do.
const processEnv = "TRACBUS_CRASH_PROCESS"

// streamKey is the key of the stream that all relays write.
const streamKey = "trac:crash:stream"

// leaseFor is how long a process that is gone keeps a name.
const leaseFor = time.Second

// orders is what a process of the campaign is told when it starts. Then it
// obeys the lines of its standard input:
//
//	last         one transaction more is committed; answered with "crash: last"
//	stop         no writer begins another transaction; answered with "crash: stopped"
//	trick …      what is to happen at the next occasion, see tricks;
//	             answered with "crash: trick …"
//	load         a LoadListener is loaded at its next change
//	finish       the process ends in order
//
// When its standard input ends, so does the process, at once.
type orders struct {
	Run     string
	Role    role
	Redis   string // address
	Log     string // path: of the outcomes of a tracker, of what a subscriber receives
	Seed    uint64
	Dialect tracbus.Dialect
	DSN     string
	Writers int
	Told    string // path of the log of what listeners under Durable are told; none but relays
	Plain   bool   // no stream
}

// role is what a process is.
type role string

const (
	tracker role = "tracker"    // writes, and relays if there is a log for that
	ear     role = "subscriber" // of Redis's channels
	reader  role = "reader"     // of the stream, going on where it stopped
)

// process is one of them.
type process struct {
	orders
	log    *record.Log
	stop   chan struct{}
	last   chan struct{}
	ctx    context.Context // ends with the order to finish
	finish context.CancelFunc
	tricks tricks

	// Of a tracker.
	told      *record.Log
	db        *sql.DB
	client    *redis.Client
	publisher *tracbus.Publisher
	bus       *tracbus.Bus
	journal   *tracbus.Journal
	loaded    loaded
}

// runProcess is what a process of the campaign does instead of tests.
func runProcess(t *testing.T, encoded string) {
	p := &process{stop: make(chan struct{}), last: make(chan struct{}, 100), tricks: tricks{goOn: make(chan struct{}, 1)}}
	p.ctx, p.finish = context.WithCancel(context.Background())
	if err := json.Unmarshal([]byte(encoded), &p.orders); err != nil {
		t.Fatal(err)
	}
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would tell of every cut
	if err := wholeLines(p.Log); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.log, err = record.OpenLog(p.Log); err != nil {
		t.Fatal(err)
	}
	go p.obey()
	testkit.NoLeaks(t)
	p.client = redis.NewClient(&redis.Options{
		Addr: p.Redis, DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, MaxRetries: -1,
		DialerRetryTimeout: 5 * time.Millisecond,
	})
	defer p.client.Close()
	roles := map[role]func() error{tracker: p.track, ear: p.hear, reader: p.read}
	if err := roles[p.Role](); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Run, err) // which the rig shows
		t.Errorf("%s: %v", p.Run, err)
	}
}

// obey does what standard input says. It is over when the process is.
func (p *process) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order, value, _ := strings.Cut(lines.Text(), " ")
		switch order {
		case "stop":
			close(p.stop)
		case "last":
			p.last <- struct{}{}
		case "finish":
			p.finish()
		case "load":
			p.loaded.again.Store(true)
		case "trick":
			p.tricks.arm(trick(value))
			fmt.Println("crash: trick " + value)
		}
	}
	os.Exit(3)
}

// hear logs what comes on Redis's channels.
func (p *process) hear() error {
	s := tracbus.NewSubscriber(p.client, tracbus.SubscriberConfig{PingAfter: time.Second, MaxBackoff: 100 * time.Millisecond})
	ready := sync.OnceFunc(func() { fmt.Println("crash: ready") })
	for e, err := range s.Events(p.ctx) {
		l := noteOf(heardWord, p.Run, e)
		if err != nil {
			l = p.received(err)
		}
		if err := p.log.Write(l); err != nil {
			return err
		}
		if err == nil {
			ready()
		}
	}
	return nil
}

// read logs what comes in the stream, behind the last line of the log: an entry
// is handled when it is logged, so none comes twice.
func (p *process) read() error {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err
	}
	after := "0" // from the oldest
	for line := range strings.Lines(string(b)) {
		var l note
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return err
		}
		if l.ID != "" {
			after = l.ID
		}
	}
	s := tracbus.NewSubscriber(p.client, tracbus.SubscriberConfig{PingAfter: time.Second, MaxBackoff: 100 * time.Millisecond})
	fmt.Println("crash: ready")
	for entry, err := range s.Stream(p.ctx, streamKey, after) {
		l := noteOf(entryWord, p.Run, entry.Event)
		if err != nil {
			l = p.received(err)
		}
		l.ID, l.Channel, l.Payload = entry.ID, entry.Channel, entry.Payload
		if err := p.log.Write(l); err != nil {
			return err
		}
	}
	return nil
}

// received returns what a subscriber notes of an error: all but the loss of its
// connection is a fault.
func (p *process) received(err error) note {
	word := faultWord
	if errors.Is(err, tracbus.ErrDisconnected) {
		word = lossWord
	}
	return note{Word: word, Run: p.Run, Result: err.Error()}
}
