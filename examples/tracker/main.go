// Tracker is a small tracker with tickets and wiki pages in a browser. It shows
// how to embed tracbus: read tracbus.go, the one file that ties it in, then
// timeline.go, mail.go, tickets.go and pages.go, which use it.
//
//	go run ./examples/tracker
//
// needs nothing else: it keeps everything in the file tracker.db. Several
// processes may share a database, on whatever ports; what one changes, the others
// show at once, and when one dies, another takes over its duties:
//
//	go run ./examples/tracker -listen 127.0.0.1:8081
//
// Flags take it to other databases, a Redis and a mail server; -help lists them.
// Processes that share a database should have the same ones.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/internal/plain"
)

// settings are what the command line says.
type settings struct {
	listen  string
	hosts   names // by which browsers may call the tracker
	env     string
	dialect tracbus.Dialect
	dsn     string
	redis   string
	stream  string
	mail    mailSettings

	proxies   networks
	metrics   string // address; "": there are none
	operators names  // none: whoever made the first account
}

// names are words of the command line, between commas.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(text string) error {
	*n = nil
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*n = append(*n, name)
		}
	}
	return nil
}

// people turns names into those that accounts go by, and says whether they are some.
func (n names) people() bool {
	for i, name := range n {
		p, err := personOf(name)
		if err != nil {
			return false
		}
		n[i] = p.key
	}
	return true
}

func main() {
	var s settings
	var dialect string
	flag.StringVar(&s.listen, "listen", "127.0.0.1:8080", "`address` to listen on; everybody who reaches it may make an account")
	flag.Var(&s.hosts, "host", "`names` by which browsers call the tracker, besides localhost and IP addresses")
	flag.Var(&s.proxies, "proxies", "`addresses` or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed (default none)")
	flag.StringVar(&s.metrics, "metrics", "", "`address` to answer a Prometheus on, which nobody else should reach (default none)")
	flag.Var(&s.operators, "operators", "`accounts` that may see the page Status and edit BadContent (default the first account that was made); make these accounts before anybody else does")
	flag.StringVar(&s.env, "env", "tracker", "the tracker's short `name`, a part of Redis channels")
	flag.StringVar(&dialect, "dialect", string(tracbus.SQLite), "the `kind` of database: sqlite, postgresql or mysql (MariaDB too)")
	flag.StringVar(&s.dsn, "db", "", "SQLite `file`, or data source name (default $TRACKER_DB, or tracker.db)")
	flag.StringVar(&s.redis, "redis", "", "`URL` of a Redis that changes are published on (default $TRACKER_REDIS, or none)")
	flag.StringVar(&s.stream, "stream", "", "`key` of a Redis stream that changes are appended to as well (default none)")
	flag.StringVar(&s.mail.server, "smtp", "", "`host:port` of a mail server (default none: mails go to the log)")
	flag.BoolVar(&s.mail.plain, "smtp-plain", false, "send mails unencrypted; else -smtp has to offer STARTTLS with a valid certificate, unless it is on this machine")
	flag.StringVar(&s.mail.from, "mail-from", "tracker@localhost", "sender `address` of mails")
	flag.StringVar(&s.mail.domain, "mail-domain", "", "`domain` of owners and cc without one (default none: these get no mail)")
	flag.Parse()
	s.dialect = tracbus.Dialect(dialect)
	s.dsn = cmp.Or(s.dsn, os.Getenv("TRACKER_DB")) // as a flag's default, -help would print it
	s.redis = cmp.Or(s.redis, os.Getenv("TRACKER_REDIS"))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends at once
	redis.SetLogger(details{slog.Default()})
	if err := run(ctx, s, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "tracker:", plain.Lines(err.Error()))
		os.Exit(1)
	}
}

// details passes the lines that go-redis writes by itself to the log. What an operator
// has to know of them, tracbus says once.
type details struct{ *slog.Logger }

func (d details) Printf(ctx context.Context, format string, v ...any) {
	d.DebugContext(ctx, plain.Line(fmt.Sprintf(format, v...)))
}

// Write takes a line of net/http's, in which a browser may have put what commands a
// terminal.
func (d details) Write(line []byte) (int, error) {
	d.Warn(plain.Lines(strings.TrimSuffix(string(line), "\n")))
	return len(line), nil
}

//go:embed tables.sql
var ownTables string

// grace is how long requests, listeners and the database have to end.
const grace = 10 * time.Second

// run serves until ctx ends, and then ends everything in order.
func run(ctx context.Context, s settings, rest []string) (err error) {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("arguments %q: expected flags only (-help lists them)", rest)
	case s.env == "" || !utf8.ValidString(s.env):
		return fmt.Errorf("-env %q: expected a name", s.env)
	case !s.operators.people():
		return fmt.Errorf("-operators %q: %w", s.operators, errNoName)
	case s.stream != "" && s.redis == "":
		return fmt.Errorf("-stream %q: expected -redis beside it", s.stream)
	}
	if s.dialect == tracbus.SQLite {
		if s.dsn == "" {
			s.dsn = "tracker.db"
		}
		s.dsn = tracdb.File(s.dsn)
	} else if s.dsn == "" {
		return fmt.Errorf("-dialect %s: expected -db or $TRACKER_DB with a data source name", s.dialect)
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer listener.Close()
	var metrics net.Listener
	if s.metrics != "" {
		if metrics, err = net.Listen("tcp", s.metrics); err != nil {
			return fmt.Errorf("-metrics: %w", err)
		}
		defer metrics.Close()
	}
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := tracdb.Open(starting, s.dialect, s.dsn, ownTables)
	if err != nil {
		return err
	}
	defer db.Close()
	changes, err := openChanges(starting, db, s)
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		err = errors.Join(err, changes.close(ending))
	}()
	if err := changes.welcome(starting); err != nil {
		return err
	}

	site := newSite(changes, db, s, listener.Addr().String())
	server := newServer(site)
	server.RegisterOnShutdown(site.endStreams)
	served := make(chan error, 2)
	if metrics != nil {
		figures := newMetricsServer(site)
		defer figures.Close()
		go func() { served <- figures.Serve(metrics) }()
		fmt.Printf("tracker: metrics on http://%s/\n", metrics.Addr())
	}
	go func() { served <- server.Serve(listener) }()
	fmt.Printf("tracker: http://%s/\n", listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("end the requests: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// newServer bounds how long and how much of a request is waited for.
func newServer(s *site) *http.Server {
	return &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      40 * time.Second, // event streams have one of their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(details{slog.Default()}, "", 0), // of handlers that panic
	}
}
