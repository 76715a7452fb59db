package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tracbus/tracbus"
)

const relayUsage = `usage: tracbus relay -trac DIR [-install] [FLAG...]

Publishes every change of a Trac environment on Redis, as the plugin tracext-redispub
does: whoever makes it, Trac, a script or a Go program. Each change is published once,
in the order of the commits, whatever ends when. Several relays of one environment take
turns: one publishes, and another goes on when it ends or dies.

  -trac DIR          the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -install           make the tables and triggers that are missing in Trac's database,
                     which needs the right to; without it, nothing is made
  -consumer NAME     of the durable consumer that publishes (default redis): relays and
                     programs that have the same name take turns
  -once              end with code 0 when all that is captured so far is published
  -from-oldest       if the consumer is new, begin at the journal's oldest change, not
                     after the newest
  -poll DURATION     how often the database is asked (default 100ms, on SQLite 5ms)
  -grace DURATION    how long the end may take after a signal (default 10s)
  -log text|json     the form of the log, on stderr (default text)

It ends with code 0 at SIGTERM or an interrupt (with -once 1, if all is not done yet), and
at once at a second one.

  tracbus relay -trac /srv/trac/myenv -install -once
  tracbus relay -trac /srv/trac/myenv
`

// relay publishes until it is told to end.
type relay struct {
	site       site
	install    bool
	once       bool
	consumer   string
	fromOldest bool
	poll       time.Duration
	grace      time.Duration
	log        string
}

func relayCommand() command {
	return command{"relay", "publish every change of a Trac environment on Redis", relayUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		r := &relay{}
		r.site.flag(flags)
		flags.BoolVar(&r.install, "install", false, "")
		flags.BoolVar(&r.once, "once", false, "")
		flags.StringVar(&r.consumer, "consumer", "redis", "")
		flags.BoolVar(&r.fromOldest, "from-oldest", false, "")
		flags.DurationVar(&r.poll, "poll", 0, "")
		flags.DurationVar(&r.grace, "grace", 10*time.Second, "")
		flags.StringVar(&r.log, "log", "text", "")
		return r.run
	}}
}

func (r *relay) run(ctx context.Context, t *terminal, words []string) (err error) {
	switch {
	case len(words) > 0:
		return usageError("relay: want flags only")
	case !isName(r.consumer):
		return usageError("-consumer: want letters, digits, '.', '_' and '-', a letter or digit first, 64 at most")
	case r.log != "text" && r.log != "json":
		return usageError("-log: want text or json")
	case r.poll < 0 || r.grace <= 0:
		return usageError("-poll and -grace: want a time above zero")
	}
	env, err := r.site.load(t)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(t.errs, nil))
	if r.log == "json" {
		logger = slog.New(slog.NewJSONHandler(harmless{t.errs}, nil))
	}
	if env.NothingEnabled {
		logger.Warn("nothing is published: trac.ini enables none of the components tracext.redispub that do")
	}
	client, err := env.Config.Redis.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	publisher := env.Config.Publisher
	publisher.Logger = logger
	bus := tracbus.BusConfig{Logger: logger}.NewBus(env.Config.Env)
	bus.All(tracbus.DurableConfig{FromOldest: r.fromOldest}.Durable(r.consumer), tracbus.NewPublisher(client, publisher))

	o, err := openJournal(ctx, t, env, bus, r.install, tracbus.JournalConfig{PollInterval: r.poll, Logger: logger})
	if err != nil && ctx.Err() != nil {
		logger.Info("the relay is told to end")
		return r.early()
	}
	if err != nil {
		return err
	}
	running := make(chan error, 1)
	go func() { running <- o.Run(context.Background()) }() // until Close
	logger.Info("the relay runs", "env", env.Config.Env, "database", o.database.Name, "consumer", r.consumer)
	tellSystemd(logger, "READY=1")
	done := make(chan error, 1)
	if r.once {
		go func() { done <- o.published(ctx, r.consumer) }()
	}
	select {
	case err = <-done:
		if ctx.Err() != nil {
			err = r.early()
		}
	case <-ctx.Done():
		logger.Info("the relay is told to end")
		err = r.early()
	case err = <-running:
		err = fmt.Errorf("the journal is not followed any more: %w", err)
	}
	tellSystemd(logger, "STOPPING=1")
	ending, cancel := context.WithTimeout(context.Background(), r.grace)
	defer cancel()
	err = errors.Join(err, o.Close(ending), bus.Close(ending), o.db.Close())
	logger.Info("the relay ends", "env", env.Config.Env)
	return err
}

// early is what an end means that comes before all is done: with -once a failure, because a
// script goes on with what is not installed or published.
func (r *relay) early() error {
	if r.once {
		return errors.New("it is told to end before all is published")
	}
	return nil
}

// published waits until all that is captured is in the journal, and published, by
// whichever relay, or until ctx ends.
func (o *opened) published(ctx context.Context, consumer string) error {
	for taken := false; ; { // all was in the journal before it was counted what the consumer has left
		s, err := o.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		i := slices.IndexFunc(s.Consumers, func(c tracbus.ConsumerStatus) bool { return c.Name == consumer })
		if taken && i >= 0 && s.Consumers[i].Lag == 0 {
			return nil
		}
		taken = s.Capture.Waiting == 0
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
