package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/plain"
)

const statusUsage = `usage: tracbus status [-trac DIR] [FLAG...]

Says how the journal of a Trac environment is doing: what is captured of Trac's changes,
who publishes, how far that is behind, and who holds it up. It changes nothing.

  -trac DIR               the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -consumer NAME          one that a process has to hold (default redis; "" for none)
  -max-lag DURATION       the age of a change that a consumer has not handled from which
                          on something is wrong (default 5m)
  -max-blocker DURATION   the same of a transaction that holds others back (default 1m)
  -json                   one line of JSON: env, database, journal, capture, blockers,
                          consumers, problems

exit codes: 0 all is well, 3 something is wrong: it is listed, with one of these codes
  journal_missing     tables of the journal are not there
  capture_off         changes that Trac makes are not captured, or not all of them
  capture_failing     captured changes cannot be imported
  consumer_missing    there is no such consumer: no relay has run yet
  consumer_not_held   no process holds the consumer: no relay runs
  consumer_failing    a consumer fails
  consumer_lag        a consumer is too far behind
  dead_letters        changes wait for "tracbus dead-letters"
  blocked             a transaction holds others back
and 1 or 2 as "tracbus -help" says.

  tracbus status -trac /srv/trac/myenv
  tracbus status -trac /srv/trac/myenv -json -max-lag 1m || alert
`

// status says how a journal is doing.
type status struct {
	site       site
	consumer   string
	maxLag     time.Duration
	maxBlocker time.Duration
	json       bool
}

func statusCommand() command {
	return command{"status", "say how the journal and the relay are doing", statusUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &status{}
		c.site.flag(flags)
		flags.StringVar(&c.consumer, "consumer", "redis", "")
		flags.DurationVar(&c.maxLag, "max-lag", 5*time.Minute, "")
		flags.DurationVar(&c.maxBlocker, "max-blocker", time.Minute, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

// statusReport is what is printed.
type statusReport struct {
	Env       string           `json:"env"`
	Database  string           `json:"database"`
	Journal   *journalReport   `json:"journal"`
	Capture   *captureReport   `json:"capture"`
	Blockers  []blockerReport  `json:"blockers"`
	Consumers []consumerReport `json:"consumers"`
	Problems  []problem        `json:"problems"`
}

type journalReport struct {
	UUID     string   `json:"uuid"`
	Realms   []string `json:"realms"`
	Head     int64    `json:"head"`
	PrunedTo int64    `json:"pruned_to"`
}

type blockerReport struct {
	Session string  `json:"session"`
	Age     float64 `json:"age_seconds"`
}

type consumerReport struct {
	Name           string  `json:"name"`
	Holder         string  `json:"holder"`
	Held           bool    `json:"held"`
	Token          int64   `json:"token"`
	LeaseAge       float64 `json:"lease_age_seconds"`
	LeaseRemaining float64 `json:"lease_remaining_seconds"`
	TID            int64   `json:"tid"`
	Seq            int     `json:"seq"`
	Lag            int64   `json:"lag"`
	LagAge         float64 `json:"lag_age_seconds"`
	Error          string  `json:"error"`
	FailingFor     float64 `json:"failing_for_seconds"`
	DeadLetters    int     `json:"dead_letters"`
}

// problem is something that is wrong. Its code does not change between releases.
type problem struct {
	Code string `json:"code"`
	What string `json:"what"`
}

func (r *statusReport) wrong(code, format string, args ...any) {
	r.Problems = append(r.Problems, problem{code, fmt.Sprintf(format, args...)})
}

func (c *status) run(ctx context.Context, t *terminal, words []string) error {
	if len(words) > 0 {
		return usageError("status: want flags only")
	}
	r, err := c.report(ctx, t)
	if err != nil {
		return err
	}
	if c.json {
		err = t.printJSON(r)
	} else {
		_, err = fmt.Fprint(t.out, r.text())
	}
	if err == nil && len(r.Problems) > 0 {
		return errProblems
	}
	return err
}

func (c *status) report(ctx context.Context, t *terminal) (*statusReport, error) {
	r := &statusReport{Blockers: []blockerReport{}, Consumers: []consumerReport{}, Problems: []problem{}}
	env, err := c.site.load(t)
	if err != nil {
		return nil, err
	}
	r.Env = env.Config.Env
	database, err := env.Database()
	if err != nil {
		return nil, err
	}
	r.Database = database.Name
	o, err := read(ctx, t, env)
	if errors.Is(err, tracbus.ErrSchema) {
		r.wrong("journal_missing", "%v", err)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer o.close()
	s, err := o.Status(ctx)
	if err != nil {
		return nil, err
	}
	r.Journal = &journalReport{s.UUID, s.Realms, s.Head, s.PrunedTo}
	r.capture(s.Capture, o.lack != nil)
	for _, b := range s.Blockers {
		r.Blockers = append(r.Blockers, blockerReport{b.Session, seconds(b.Age)})
		if b.Age > c.maxBlocker {
			r.wrong("blocked", "%s has held others back for %v", b.Session, b.Age.Round(time.Second))
		}
	}
	found := c.consumer == ""
	for _, s := range s.Consumers {
		found = found || s.Name == c.consumer
		r.consumer(s, c)
	}
	if !found {
		r.wrong("consumer_missing", "there is no consumer %q: no relay has run yet", c.consumer)
	}
	return r, nil
}

// consumer adds one.
func (r *statusReport) consumer(s tracbus.ConsumerStatus, c *status) {
	held := s.Holder != "" && s.LeaseRemaining > 0
	r.Consumers = append(r.Consumers, consumerReport{
		s.Name, s.Holder, held, s.Token, seconds(s.LeaseAge), seconds(s.LeaseRemaining), s.TID, s.Seq,
		s.Lag, seconds(s.LagAge), s.Err, seconds(s.FailingFor), s.DeadLetters,
	})
	if s.Name == c.consumer && !held {
		r.wrong("consumer_not_held", "no process holds the consumer %q: no relay runs", s.Name)
	}
	if s.Err != "" {
		r.wrong("consumer_failing", "the consumer %q has been failing for %v: %s", s.Name, s.FailingFor.Round(time.Second), s.Err)
	}
	if s.LagAge > c.maxLag {
		r.wrong("consumer_lag", "the consumer %q has %d changes to handle, the oldest %v old", s.Name, s.Lag, s.LagAge.Round(time.Second))
	}
	if s.DeadLetters > 0 {
		r.wrong("dead_letters", "the consumer %q has %d dead letters", s.Name, s.DeadLetters)
	}
}

// text is the report for people.
func (r *statusReport) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, plain.Word(fmt.Sprintf(format, args...)))
	}
	line("env", "%s", r.Env)
	line("database", "%s", r.Database)
	if j := r.Journal; j != nil {
		line("journal", "%s, changes up to tid %d, pruned up to %d, realms %s", j.UUID, j.Head, j.PrunedTo, strings.Join(j.Realms, " "))
	}
	if k := r.Capture; k != nil && len(k.Captured) > 0 {
		line("capture", "the tables %s, %d rows wait", strings.Join(k.Captured, " "), k.Waiting)
	}
	for _, k := range r.Blockers {
		line("blocker", "%s for %.0f s", k.Session, k.Age)
	}
	for _, c := range r.Consumers {
		held := "held by nobody"
		if c.Held {
			held = fmt.Sprintf("held by %s for %.0f s", c.Holder, c.LeaseAge)
		}
		line("consumer", "%s: %s, at tid %d, %d to go, %d dead letters", c.Name, held, c.TID, c.Lag, c.DeadLetters)
	}
	for _, p := range r.Problems {
		line("PROBLEM", "%s: %s", p.Code, p.What)
	}
	if len(r.Problems) == 0 {
		line("all well", "")
	}
	return b.String()
}
