package foreign_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// processEnv holds, for a process of the campaign, what it is to do.
const processEnv = "TRACBUS_FOREIGN_PROCESS"

// orders is what a process is told when it starts. Then it obeys the lines of its standard input:
//
//	stop         the writer begins no other transaction; answered with "foreign: stopped"
//	finish 17    a tracker ends when its listeners have handled tid 17
//
// When its standard input ends, so does the process, at once.
type orders struct {
	Run     string
	Trac    bool // it writes as Trac does, and knows no journal
	Dialect tracbus.Dialect
	DSN     string
	Env     string // the environment of a real Trac; empty: there is none
	Redis   string // address
	Log     string // path
	Seed    uint64
	Pages   int // how many names pages have
}

// line is one of a process's log.
type line struct {
	Word string
	At   int64 `json:",omitempty"` // nanoseconds since 1970, by the one clock of all processes

	// Of a transaction, and what became of it.
	Token  string `json:",omitempty"`
	Result string `json:",omitempty"`

	// Of a change that a listener was told of.
	record.Place
	Resource string `json:",omitempty"`
	Kind     string `json:",omitempty"`
	Primary  bool   `json:",omitempty"`
}

// The words of lines.
const (
	beginWord      = "begin"      // of a transaction
	outcomeWord    = "outcome"    // of a transaction: Result
	startWord      = "start"      // the journal is followed from behind TID on
	everywhereWord = "everywhere" // the listener Everywhere was told
	primaryWord    = "primary"    // the listener Primary was told
	faultWord      = "fault"      // what must not happen did: Result says what
	endWord        = "end"        // the process ended in order
)

// What became of a transaction, as Result begins.
const (
	committed    = "committed"
	rolledBack   = "rolled back"
	unknownWhich = "unknown"
)

// process is one of the campaign's.
type process struct {
	orders
	d      dialect
	log    *record.Log
	db     *sql.DB
	random *rand.Rand
	stop   chan struct{}
	finish chan int64
	number int // of the transaction
}

// runProcess is what a process of the campaign does instead of tests.
func runProcess(t *testing.T, encoded string) {
	p := &process{stop: make(chan struct{}), finish: make(chan int64, 1)}
	if err := json.Unmarshal([]byte(encoded), &p.orders); err != nil {
		t.Fatal(err)
	}
	_ = mysql.SetLogger(&mysql.NopLogger{})
	p.d, p.random = dialect(p.Dialect), rand.New(rand.NewPCG(p.Seed, 0))
	var err error
	if p.log, err = record.OpenLog(p.Log); err != nil {
		t.Fatal(err)
	}
	if p.db, err = sql.Open(record.Drivers[p.Dialect], p.DSN); err != nil {
		t.Fatal(err)
	}
	defer p.db.Close()
	go p.obey()
	work := p.track
	if p.Trac {
		work = p.writeAsTrac
	}
	if err := work(context.Background()); err != nil {
		p.write(line{Word: faultWord, Result: err.Error()})
		t.Fatal(err)
	}
	p.write(line{Word: endWord})
}

// obey does what standard input says. It is over when the process is.
func (p *process) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order, value, _ := strings.Cut(lines.Text(), " ")
		switch order {
		case "stop":
			close(p.stop)
		case "finish":
			var tid int64
			if _, err := fmt.Sscan(value, &tid); err == nil {
				p.finish <- tid
			}
		}
	}
	os.Exit(3)
}

func (p *process) write(l line) {
	l.At = time.Now().UnixNano()
	if err := p.log.Write(l); err != nil {
		panic(err)
	}
}

var (
	errRollback = errors.New("the writer changed its mind")
	errNothing  = errors.New("there is nothing to change")
)

// work makes transactions until the writer is to stop, and notes what became of each.
func (p *process) work(ctx context.Context, transact func(ctx context.Context, token string) (result string, err error)) {
	for {
		select {
		case <-p.stop:
			fmt.Println("foreign: stopped")
			return
		default:
		}
		p.number++
		token := fmt.Sprintf("%s/%d", p.Run, p.number)
		p.write(line{Word: beginWord, Token: token})
		result, err := transact(ctx, token)
		if err != nil {
			result += ": " + err.Error()
		}
		p.write(line{Word: outcomeWord, Token: token, Result: result})
		record.Sleep(ctx, time.Duration(p.random.IntN(20))*time.Millisecond)
	}
}

// hot is how many tickets all writers change all the time, and which nobody deletes.
const hot = 5

// tickets returns some that there are, in the order of their numbers: hot ones, or a new one.
func (p *process) tickets(ctx context.Context, most int) (ids []int64, err error) {
	chosen := map[int64]bool{}
	for range 1 + p.random.IntN(most) {
		id := int64(1 + p.random.IntN(hot))
		if p.random.IntN(4) == 0 {
			if id, err = p.newTicket(ctx); errors.Is(err, errNothing) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		chosen[id] = true
	}
	for id := range chosen {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errNothing
	}
	return sorted(ids), nil
}

// newTicket returns one of the newest that are not hot.
func (p *process) newTicket(ctx context.Context) (id int64, err error) {
	err = p.db.QueryRowContext(ctx, p.d.text("SELECT id FROM ticket WHERE id > ? ORDER BY id DESC LIMIT 1 OFFSET ?"), hot, p.random.IntN(4)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNothing
	}
	return id, err
}

// comment is one that a ticket has.
type comment struct {
	time int64
	text string
}

// someComment returns one of the newest of a ticket.
func (p *process) someComment(ctx context.Context, q querier, id int64) (c comment, err error) {
	var text sql.NullString
	err = q.QueryRowContext(ctx, p.d.text("SELECT time, newvalue FROM ticket_change WHERE ticket = ? AND field = 'comment' ORDER BY time DESC LIMIT 1 OFFSET ?"),
		id, p.random.IntN(3)).Scan(&c.time, &text)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNothing
	}
	c.text = text.String
	return c, err
}

func (p *process) pageName() string { return fmt.Sprintf("Campaign%d", p.random.IntN(p.Pages)) }

// newest returns the newest version of a page, 0 if there is none.
func (p *process) newest(ctx context.Context, q querier, name string) (version int64, err error) {
	err = q.QueryRowContext(ctx, p.d.text("SELECT coalesce(max(version), 0) FROM wiki WHERE name = ?"), name).Scan(&version)
	return version, err
}

func ticket(id int64) string { return fmt.Sprintf("ticket %d", id) }

func page(name string) string { return "wiki " + name }
