package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/environment"
	"github.com/tracbus/tracbus/trac/realms"
)

const tailUsage = `usage: tracbus tail [-trac DIR] [FLAG...] [PATTERN...]

Prints changes as they come, until it is interrupted. It connects again by itself.

  -trac DIR          the folder of a Trac environment, or its trac.ini (default $TRAC_ENV);
                     not needed for channels and streams if -redis or $TRACBUS_REDIS is there
  -redis URL         which Redis, without a password: give one with one in $TRACBUS_REDIS
  -from SOURCE       channels (default): what is published while it runs, on those that
                     match a PATTERN, in Redis's notation (default: the environment's own)
                     stream: the entries of a Redis stream
                     journal: the changes in the database; no Redis is needed
  -stream KEY        the stream's key (default stream in [redispub]); implies -from stream
  -since PLACE       of a stream: go on after the entry of this id; 0 prints all that is kept
                     of the journal: go on after this tid; 0 prints all that is kept
                     (default: from now on)
  -filter WORDS      only these kinds of changes: realm, realm/kind or */kind, with commas
  -n NUMBER          end after so many
  -poll DURATION     how often the journal is read (default 250ms)
  -json              one line of JSON for each: entry, tid, seq, commit_id, time, env, realm,
                     id, kind, author, ipnr, authenticated, comment, channel, payload, or
                     gap, after, through, or error; what is not known is left out

  tracbus tail -trac /srv/trac/myenv
  tracbus tail -trac /srv/trac/myenv -from journal -since 0 -filter ticket/created,wiki -json
  tracbus tail -redis redis://localhost:6379 'trac.*.wiki.*'
`

// tail prints changes as they come.
type tail struct {
	site          site
	redis         string
	from          string
	stream, since string
	filter        string
	most          int
	poll          time.Duration
	json          bool
}

func tailCommand() command {
	return command{"tail", "print changes as they come", tailUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &tail{}
		c.site.flag(flags)
		flags.StringVar(&c.redis, "redis", "", "")
		flags.StringVar(&c.from, "from", "", "")
		flags.StringVar(&c.stream, "stream", "", "")
		flags.StringVar(&c.since, "since", "", "")
		flags.StringVar(&c.filter, "filter", "", "")
		flags.IntVar(&c.most, "n", 0, "")
		flags.DurationVar(&c.poll, "poll", 250*time.Millisecond, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *tail) run(ctx context.Context, t *terminal, patterns []string) error {
	if c.from == "" {
		c.from = "channels"
		if c.stream != "" {
			c.from = "stream"
		}
	}
	wanted, err := parseFilter(c.filter)
	if err != nil {
		return err
	}
	switch {
	case c.from != "channels" && c.from != "stream" && c.from != "journal":
		return usageError("-from: want channels, stream or journal")
	case c.from != "channels" && len(patterns) > 0:
		return usageError("patterns are for channels: use -filter")
	case c.from != "stream" && c.stream != "":
		return usageError("-stream is for -from stream")
	case c.from == "channels" && c.since != "":
		return usageError("-since is for a stream or the journal: channels keep nothing")
	case c.from == "stream" && !isEntry(c.since):
		return usageError("-since: want an entry's id such as 4711-0, or 0")
	case c.from == "journal" && !isTID(c.since):
		return usageError("-since: want a tid, or 0")
	case c.most < 0 || c.poll <= 0:
		return usageError("-n and -poll: want a number above zero")
	case c.redis != "" && strings.Contains(c.redis, "@"):
		return usageError("-redis: want no user and password, which everybody on this machine could see: set $" + environment.RedisVariable)
	}
	var env *environment.Environment
	if c.site.path != "" || c.from == "journal" {
		if env, err = c.site.load(t); err != nil {
			return err
		}
	}
	s := shower{t: t, json: c.json, colours: colourful(t.out), publisher: tracbus.PublisherConfig{NoPrefix: true}, received: c.from != "journal"}
	if env != nil {
		s.publisher = env.Config.Publisher
	}
	var items iter.Seq2[item, error]
	if c.from == "journal" {
		items = c.journal(ctx, t)
	} else {
		items = c.published(ctx, env, patterns)
	}
	shown := 0
	for i, err := range items {
		switch gap, isGap := i.event.(tracbus.Resync); {
		case errors.Is(err, tracbus.ErrDisconnected):
			t.say("%v; trying again", err)
			continue
		case err != nil:
			return err
		case isGap && !c.json:
			t.say("%s", gapText(gap))
			continue
		case !wanted(i):
			continue
		case isGap:
			if err := s.show(i); err != nil {
				return err
			}
			continue
		}
		if err := s.show(i); err != nil {
			return err
		}
		if shown++; shown == c.most {
			return nil
		}
	}
	return nil
}

// isEntry says whether a stream can be read from there on.
func isEntry(since string) bool {
	first, second, two := strings.Cut(since, "-")
	_, err1 := strconv.ParseUint(first, 10, 64)
	_, err2 := strconv.ParseUint(second, 10, 64)
	return since == "" || err1 == nil && (err2 == nil || !two)
}

func isTID(since string) bool {
	n, err := strconv.ParseInt(since, 10, 64)
	return since == "" || err == nil && n >= 0
}

// parseFilter reads kinds of changes. Gaps, and messages that are no events, are always wanted.
func parseFilter(text string) (func(item) bool, error) {
	type rule struct{ realm, kind string }
	var rules []rule
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		realm, kind, two := strings.Cut(word, "/")
		if realm == "" || two && kind == "" {
			return nil, usageError("-filter: want realm, realm/kind or */kind, with commas between two")
		}
		if kind == "" {
			kind = "*"
		}
		rules = append(rules, rule{realm, kind})
	}
	return func(i item) bool {
		if len(rules) == 0 || i.event == nil || i.event.Kind() == (tracbus.Resync{}).Kind() {
			return true
		}
		for _, r := range rules {
			if (r.realm == "*" || r.realm == string(i.event.Resource().Realm)) && (r.kind == "*" || r.kind == string(i.event.Kind())) {
				return true
			}
		}
		return false
	}, nil
}

// published yields what comes through Redis.
func (c *tail) published(ctx context.Context, env *environment.Environment, patterns []string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		config, prefix, err := c.where(env, &patterns)
		if err != nil {
			yield(item{}, err)
			return
		}
		client, err := config.NewClient()
		if err != nil {
			yield(item{}, err)
			return
		}
		defer client.Close()
		subscriber := tracbus.NewSubscriber(client, prefix)
		if c.from == "stream" {
			for e, err := range subscriber.Stream(ctx, c.stream, c.since) {
				i, err := decoded(item{e.ID, e.Event, e.Channel, e.Payload, nil}, prefix.Prefix, err)
				if !yield(i, err) {
					return
				}
			}
			return
		}
		for e, err := range subscriber.Events(ctx, patterns...) {
			i, err := decoded(item{event: e}, prefix.Prefix, err)
			if !yield(i, err) {
				return
			}
		}
	}
}

// where says which Redis, and which channels in it.
func (c *tail) where(env *environment.Environment, patterns *[]string) (tracbus.RedisConfig, tracbus.SubscriberConfig, error) {
	config, subscriber := tracbus.RedisConfig{}, tracbus.SubscriberConfig{NoPrefix: true} // several trackers may be in reach
	if env != nil {
		config = env.Config.Redis
		subscriber = tracbus.SubscriberConfig{Prefix: env.Config.Publisher.Prefix, NoPrefix: env.Config.Publisher.NoPrefix}
		if c.stream == "" {
			c.stream = env.Config.Publisher.StreamKey
		}
		if len(*patterns) == 0 {
			own := escapePattern(env.Config.Env) + ".*"
			if p := subscriber.Pattern(); p != "*" {
				own = strings.TrimSuffix(p, "*") + own
			}
			*patterns = []string{own}
		}
	} else if len(*patterns) == 0 {
		*patterns = []string{tracbus.SubscriberConfig{}.Pattern()}
	}
	if c.from == "stream" && c.stream == "" {
		return config, subscriber, usageError("-from stream: want -stream KEY, or stream in [redispub]")
	}
	var err error
	switch url := os.Getenv(environment.RedisVariable); {
	case c.redis != "":
		if config, err = environment.Redis(c.redis); err != nil {
			err = fmt.Errorf("-redis: %w", err)
		}
	case env == nil && url != "":
		if config, err = environment.Redis(url); err != nil {
			err = fmt.Errorf("$%s: %w", environment.RedisVariable, err)
		}
	}
	return config, subscriber, err
}

func escapePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// decoded completes a message that the library's own decoder does not know.
func decoded(i item, prefix string, err error) (item, error) {
	bad, ok := errors.AsType[*tracbus.DecodeError](err)
	if !ok {
		return i, err
	}
	i.channel, i.payload = bad.Channel, bad.Payload
	if e, err := realms.Decode(prefix, bad.Channel, bad.Payload); err == nil {
		i.event = e
		return i, nil
	}
	i.err = err
	return i, nil
}

// journal yields what is committed.
func (c *tail) journal(ctx context.Context, t *terminal) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		o, err := c.site.read(ctx, t)
		if err != nil {
			yield(item{}, err)
			return
		}
		defer o.close()
		place, err := c.begin(ctx, o)
		if err != nil {
			yield(item{}, err)
			return
		}
		said := false // that the database is away
		for {
			var failed error
			for e, err := range o.Resume(ctx, place) {
				if failed = err; err != nil {
					break
				}
				if place = e.About(); !yield(item{event: e}, nil) {
					return
				}
			}
			if gap, from, ok := c.gap(ctx, o, place, failed); ok {
				if place = from; !yield(item{event: gap}, nil) {
					return
				}
			} else if failed != nil && ctx.Err() == nil && !said {
				t.say("%v; trying again", failed)
			}
			said = failed != nil
			select {
			case <-time.After(c.poll):
			case <-ctx.Done():
				return
			}
		}
	}
}

// begin is where the journal is read from.
func (c *tail) begin(ctx context.Context, o *opened) (tracbus.Change, error) {
	if c.since != "" {
		tid, err := strconv.ParseInt(c.since, 10, 64)
		if err != nil {
			return tracbus.Change{}, err
		}
		status, err := o.Status(ctx)
		if tid == 0 {
			tid = status.PrunedTo
		}
		return tracbus.Change{TID: tid, Seq: -1}, err
	}
	status, err := o.Status(ctx)
	return tracbus.Change{TID: status.Position, Seq: -1}, err
}

// gap says what is missed after an error, and where to go on.
func (c *tail) gap(ctx context.Context, o *opened, place tracbus.Change, err error) (gap tracbus.Resync, from tracbus.Change, ok bool) {
	reason := tracbus.ResyncPruned
	switch {
	case errors.Is(err, tracbus.ErrRewound):
		reason = tracbus.ResyncRewound
	case !errors.Is(err, tracbus.ErrPruned):
		return gap, from, false
	}
	status, failed := o.Status(ctx)
	if failed != nil {
		return gap, from, false
	}
	from = tracbus.Change{TID: status.PrunedTo, Seq: -1}
	if reason == tracbus.ResyncRewound {
		from.TID = min(place.TID, status.Head)
	}
	gap = tracbus.Resync{Reason: reason, After: place.TID, Through: from.TID, Err: err}
	gap.Time = time.Now().UTC()
	return gap, from, true
}
