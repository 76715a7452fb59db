package failover_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// processEnv holds, for a process of a failover campaign, what it is to do.
const processEnv = "TRACBUS_FAILOVER_PROCESS"

// orders is what a process of the campaign is told when it starts. When it does
// what it is for, it says "failover: ready". Then it obeys the lines of its
// standard input:
//
//	stop      no further change is made; answered with "failover: stopped"
//	finish    the process ends in order
//
// When its standard input ends, so does the process, at once.
type orders struct {
	Role     role
	Folder   string // of its logs and its database
	Topology string
	Addrs    []string
	Password string
	Stream   string // key of the stream
	Ours     bool   // all clients are the library's
}

// role is what a process is.
type role string

const (
	durable  role = "durable"     // writes, and publishes under Durable, with a stream
	primary  role = "primary"     // writes, and publishes under Primary
	audience role = "subscribers" // the pub/sub subscribers, and one reader of the stream
)

// writers are the roles that write: each is the environment of its messages.
var writers = []role{durable, primary}

// ears is how many subscribers there are to channels.
const ears = 4

func earName(n int) string { return fmt.Sprintf("ear%d", n) }

// patient says after how much silence a subscriber asks whether Redis is there.
// The first one leaves that to the library.
func patient(ear int) time.Duration {
	if ear == 0 {
		return 0
	}
	return 2 * time.Second
}

const readerName = "reader"

// process is one of them.
type process struct {
	orders
	stop   chan struct{}
	ctx    context.Context // ends with the order to finish
	finish context.CancelFunc
}

// runProcess is what a process of the campaign does instead of tests.
func runProcess(t *testing.T, encoded string) {
	p := &process{stop: make(chan struct{})}
	p.ctx, p.finish = context.WithCancel(context.Background())
	if err := json.Unmarshal([]byte(encoded), &p.orders); err != nil {
		t.Fatal(err)
	}
	go p.obey()
	testkit.NoLeaks(t)
	work := p.write
	if p.Role == audience {
		work = p.listen
	}
	if err := work(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Role, err) // which the rig shows
		t.Errorf("%s: %v", p.Role, err)
	}
}

// obey does what standard input says. It is over when the process is.
func (p *process) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "stop":
			close(p.stop)
		case "finish":
			p.finish()
		}
	}
	os.Exit(3)
}

// client returns a client of the library's, or one of go-redis alone.
func (p *process) client(ours bool, protocol int) (redis.UniversalClient, error) {
	if ours || p.Ours {
		c := tracbus.RedisConfig{Password: tracbus.NewSecret(p.Password)}
		switch p.Topology {
		case onSentinel:
			c.Sentinel = tracbus.RedisSentinel{MasterName: masterName, Addrs: p.Addrs}
		case onCluster:
			c.Cluster = p.Addrs
		default:
			c.Addr = p.Addrs[0]
		}
		return c.NewClient()
	}
	switch p.Topology {
	case onSentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: masterName, SentinelAddrs: p.Addrs, Protocol: protocol, Password: p.Password,
		}), nil
	case onCluster:
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: p.Addrs, Protocol: protocol, Password: p.Password}), nil
	}
	return redis.NewClient(&redis.Options{Addr: p.Addrs[0], Protocol: protocol, Password: p.Password}), nil
}

// listen has all subscribers listen, each over a client of its own.
func (p *process) listen() error {
	var running sync.WaitGroup
	var ready sync.WaitGroup
	failed := make(chan error, ears+1)
	for n := range ears + 1 {
		name, loop := earName(n), p.hear
		if n == ears {
			name, loop = readerName, p.read
		}
		client, err := p.client(n%2 == 0, 3-n/3%2) // the last ear speaks RESP2
		if err != nil {
			return err
		}
		defer client.Close()
		log, err := record.OpenLog(filepath.Join(p.Folder, name+".log"))
		if err != nil {
			return err
		}
		s := tracbus.NewSubscriber(client, tracbus.SubscriberConfig{PingAfter: patient(n)})
		ready.Add(1)
		running.Go(func() {
			if err := loop(s, log, sync.OnceFunc(ready.Done)); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	go func() {
		ready.Wait()
		fmt.Println("failover: ready")
	}()
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// hear notes what comes on Redis's channels.
func (p *process) hear(s *tracbus.Subscriber, log *record.Log, ready func()) error {
	defer ready()
	for e, err := range s.Events(p.ctx) {
		if err := log.Write(noteOf(heardWord, e, err)); err != nil {
			return err
		}
		if _, ok := e.(tracbus.Resync); ok {
			ready()
		}
	}
	return nil
}

// read notes what comes in the stream, from the oldest entry.
func (p *process) read(s *tracbus.Subscriber, log *record.Log, ready func()) error {
	defer ready()
	ready() // it reads from the beginning, whenever that is
	for entry, err := range s.Stream(p.ctx, p.Stream, "0") {
		n := noteOf(entryWord, entry.Event, err)
		n.ID = entry.ID
		if err := log.Write(n); err != nil {
			return err
		}
	}
	return nil
}

// noteOf returns what a subscriber notes.
func noteOf(word word, e tracbus.Event, err error) note {
	n := note{Word: word, At: time.Now().UnixMicro()}
	var undecodable *tracbus.DecodeError
	switch created, ok := e.(tracbus.TicketCreated); {
	case errors.Is(err, tracbus.ErrDisconnected):
		n.Word, n.Text = lossWord, err.Error()
	case errors.As(err, &undecodable):
		n.Word, n.Text = faultWord, err.Error()
	case err != nil:
		n.Word, n.Text = errorWord, err.Error()
	case ok:
		n.Writer, n.N = created.Env, int(created.ID)
	default:
		resync, ok := e.(tracbus.Resync)
		if n.Word, n.Text = resyncWord, string(resync.Reason); !ok {
			n.Word, n.Text = faultWord, fmt.Sprintf("an event %T", e)
		}
	}
	return n
}
