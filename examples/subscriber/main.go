// Subscriber shows what trackers publish, as it comes: the loop of the original
// plugin's README, as a program.
//
//	go run ./examples/subscriber                                # trac.* on localhost:6379
//	go run ./examples/subscriber -redis redis://host:6379 'trac.*.wiki.*' 'trac.*.ticket.*'
//	go run ./examples/subscriber -trac-ini /srv/trac/myenv -json
//	go run ./examples/subscriber -stream '{trac}:changes' -since 4711-0
//
// With -stream it reads a stream, where it catches up on what it missed. It
// reconnects by itself and ends, with code 0, at an interrupt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/plain"
)

const usage = `usage: subscriber [-redis URL | -trac-ini FILE] [-json] [PATTERN...]
       subscriber [-redis URL | -trac-ini FILE] [-json] -stream KEY [-since ID]

Prints the events of all channels that match a PATTERN, in Redis's notation.
Without one, these are the channels of the prefix in the trac.ini, or trac.*
With -stream it prints the entries of a Redis stream instead, with their ids.

  -redis URL      redis://user:password@host:port, rediss://… or unix://…
                  (default redis://localhost:6379)
  -trac-ini FILE  reads Redis and prefix from a trac.ini, or the folder of a Trac
                  environment; this keeps the password out of the process list
  -json           prints one line of JSON for each message, and nothing else
  -stream KEY     the stream's key, as its publisher has it
  -since ID       goes on after this entry of the stream; 0 prints all that is
                  kept (default: from now on)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends at once
	redis.SetLogger(silent{})    // the loop says what matters, once
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	var bad usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
	case errors.As(err, &bad):
		say(os.Stderr, "%v (-help shows what is)", err)
		os.Exit(2)
	case err != nil:
		say(os.Stderr, "%v", err)
		os.Exit(1)
	}
}

// say writes a line of what is not an event. What servers, files and the command line
// have put into it commands no terminal.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, plain.Line("subscriber: "+fmt.Sprintf(format, args...)))
}

// silent drops the lines that go-redis writes to stderr by itself.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// run prints events until ctx ends.
func run(ctx context.Context, o options) error {
	client, err := o.redis.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()

	show := showText(os.Stdout, colourful(os.Stdout))
	if o.json {
		show = showJSON(os.Stdout)
	}
	// Patterns may reach trackers of several prefixes, so none is taken off:
	// the Env of each event is all that stands before the realm.
	subscriber := tracbus.NewSubscriber(client, tracbus.SubscriberConfig{NoPrefix: true})
	for entry, err := range o.read(ctx, subscriber) {
		if resync, ok := entry.Event.(tracbus.Resync); ok {
			o.tell(entry.ID, resync)
			continue
		}
		if undecoded := (*tracbus.DecodeError)(nil); err != nil && !errors.As(err, &undecoded) {
			say(os.Stderr, "%s; trying again", o.withoutSecrets(err.Error()))
			continue
		}
		if err := show(entry, err); err != nil {
			return err
		}
	}
	return nil
}

// read loops over the stream that was asked for, or over channels, which have no
// ids.
func (o options) read(ctx context.Context, s *tracbus.Subscriber) iter.Seq2[tracbus.StreamEntry, error] {
	if o.stream != "" {
		return s.Stream(ctx, o.stream, o.since)
	}
	return func(yield func(tracbus.StreamEntry, error) bool) {
		for event, err := range s.Events(ctx, o.patterns...) {
			if !yield(tracbus.StreamEntry{Event: event}, err) {
				return
			}
		}
	}
}

// tell says from where on nothing is missed, and what was.
func (o options) tell(at string, e tracbus.Resync) {
	where := fmt.Sprintf("subscribed to %q", o.patterns)
	switch e.Reason {
	case tracbus.ResyncReconnected:
		where += " again; what was published meanwhile is missed"
	case tracbus.ResyncStreamTrimmed:
		where = fmt.Sprintf("changes after tid %d up to %d are missed: the stream does not keep them", e.After, e.Through)
	case tracbus.ResyncStreamReset:
		where = fmt.Sprintf("the stream began again; what came after tid %d may be missed or come again", e.After)
	default:
		if o.stream != "" {
			where = fmt.Sprintf("reading %q from %s", o.stream, at)
		}
	}
	say(os.Stderr, "%s", where)
}

// options are what the command line asks for.
type options struct {
	redis    tracbus.RedisConfig
	patterns []string
	json     bool
	stream   string // zero: the patterns
	since    string
}

// usageError is a command line that cannot work.
type usageError string

func (e usageError) Error() string { return string(e) }

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("subscriber", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	url := flags.String("redis", "redis://localhost:6379", "")
	ini := flags.String("trac-ini", "", "")
	flags.BoolVar(&o.json, "json", false, "")
	flags.StringVar(&o.stream, "stream", "", "")
	flags.StringVar(&o.since, "since", "", "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return o, err
	} else if err != nil {
		return o, usageError(withoutURL(err.Error()))
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	o.patterns = flags.Args()
	switch {
	case given["stream"] != (o.stream != "") || given["since"] && !given["stream"]:
		return o, usageError("-stream: want a key, and -since only beside it")
	case given["stream"] && len(o.patterns) > 0:
		return o, usageError("-stream and patterns exclude each other")
	case !isPlace(o.since):
		return o, usageError("-since: want an id as in 4711-0, or 0")
	case given["redis"] && given["trac-ini"]:
		return o, usageError("-redis and -trac-ini exclude each other")
	case given["trac-ini"]:
		return o, o.readTracIni(*ini)
	}
	if len(o.patterns) == 0 {
		o.patterns = []string{tracbus.SubscriberConfig{}.Pattern()}
	}
	o.redis, err = tracbus.ParseRedisURL(*url)
	var bad *tracbus.ConfigError
	if errors.As(err, &bad) {
		return o, usageError("-redis: want " + bad.Want)
	}
	return o, err
}

// isPlace says whether a stream can be read from there on.
func isPlace(since string) bool {
	first, second, two := strings.Cut(since, "-")
	_, err1 := strconv.ParseUint(first, 10, 64)
	_, err2 := strconv.ParseUint(second, 10, 64)
	return since == "" || err1 == nil && (err2 == nil || !two)
}

// readTracIni takes from a trac.ini what a subscriber needs to know.
func (o *options) readTracIni(path string) error {
	c, err := tracbus.LoadConfig(path)
	if err != nil {
		return err
	}
	for _, warning := range c.Warnings {
		say(os.Stderr, "%s", warning)
	}
	o.redis = c.Redis
	if len(o.patterns) == 0 {
		channels := tracbus.SubscriberConfig{Prefix: c.Publisher.Prefix, NoPrefix: c.Publisher.NoPrefix}
		o.patterns = []string{channels.Pattern()}
	}
	return nil
}

// withoutURL hides what may be a URL in the wrong place, for it may hold a
// password.
func withoutURL(message string) string {
	if strings.ContainsAny(message, "/@") {
		return "a flag or value that is not known"
	}
	return message
}

// withoutSecrets hides passwords that a server has quoted.
func (o options) withoutSecrets(message string) string {
	for _, secret := range []tracbus.Secret{o.redis.Password, o.redis.Sentinel.Password} {
		if text := secret.Reveal(); text != "" {
			message = strings.ReplaceAll(message, text, secret.String())
		}
	}
	return message
}
