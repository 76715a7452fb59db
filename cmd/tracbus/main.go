// Tracbus ties Trac to Redis: "tracbus relay" publishes every change of a Trac
// environment, whoever made it, and the other commands show what is going on.
// "tracbus -help" lists them; docs/relay.md says how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/tracdb"
	"github.com/tracbus/tracbus/internal/plain"
)

// The exit codes. docs/relay.md has them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitSettings = 2 // the command line, trac.ini or a variable cannot work
	exitProblems = 3 // status: something is wrong
)

// command is what the first word of the command line names.
type command struct {
	name    string
	summary string // one line
	usage   string // what -help prints: the forms, the flags, examples
	prepare func(*flag.FlagSet) func(context.Context, *terminal, []string) error
}

func commands() []command {
	return []command{relayCommand(), tailCommand(), statusCommand(), historyCommand(), pruneCommand(), deadLettersCommand(), schemaCommand(), uninstallCommand()}
}

// terminal is where a command writes to.
type terminal struct {
	out  io.Writer // what was asked for
	errs io.Writer // what is said beside
}

// say prints a line for people beside what was asked for.
func (t *terminal) say(format string, args ...any) {
	fmt.Fprintln(t.errs, "tracbus: "+plain.Lines(fmt.Sprintf(format, args...)))
}

// usageError is a command line that cannot work.
type usageError string

func (e usageError) Error() string { return string(e) }

// errProblems is what status returns if something is wrong, which it has printed.
var errProblems = errors.New("something is wrong")

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // a second signal ends the process at once
		cancel()
	}()
	redis.SetLogger(silent{})
	os.Exit(run(ctx, &terminal{os.Stdout, os.Stderr}, os.Args[1:]))
}

// silent drops the lines that go-redis writes by itself: what matters of them, the
// library says.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// run runs a command line, and returns the exit code.
func run(ctx context.Context, t *terminal, args []string) int {
	err := dispatch(ctx, t, args)
	var bad usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errProblems):
		return exitProblems
	case errors.As(err, &bad):
		t.say("%v (tracbus -help shows what is)", err)
		return exitSettings
	}
	t.say("%v", err)
	if errors.Is(err, tracbus.ErrConfig) || errors.Is(err, tracdb.ErrConnectionString) {
		return exitSettings
	}
	return exitFailed
}

func dispatch(ctx context.Context, t *terminal, args []string) error {
	if len(args) == 0 {
		return usageError("want a command")
	}
	switch args[0] {
	case "-help", "--help", "-h", "help":
		if len(args) > 1 && args[0] == "help" {
			return dispatch(ctx, t, []string{args[1], "-help"})
		}
		_, err := io.WriteString(t.out, overview())
		return err
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, t, args[1:])
		}
	}
	return usageError("no such command")
}

// run parses flags, which may also stand after other words, and runs the command.
func (c command) run(ctx context.Context, t *terminal, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	do := c.prepare(flags)
	var words []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			_, err := io.WriteString(t.out, c.usage)
			return err
		}
		if err != nil {
			return usageError(c.name + ": " + withoutURL(err.Error()))
		}
		if flags.NArg() == 0 {
			break
		}
		if rest := flags.Args(); len(rest) < len(args) && args[len(args)-len(rest)-1] == "--" { // what follows are words
			words = append(words, rest...)
			break
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
	if err := do(ctx, t, words); err != nil {
		if bad := usageError(""); errors.As(err, &bad) || errors.Is(err, errProblems) {
			return err
		}
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// withoutURL hides what may be a URL in the wrong place, because it may hold a password.
func withoutURL(message string) string {
	if strings.ContainsAny(message, "/@") {
		return "a flag or value that is not known"
	}
	return message
}

func overview() string {
	var b strings.Builder
	b.WriteString(`usage: tracbus COMMAND [FLAG...] [WORD...]

`)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-13s %s\n", c.name, c.summary)
	}
	b.WriteString(`
"tracbus COMMAND -help" shows flags and examples.

The environment is what -trac names, or $TRAC_ENV. What trac.ini says can be replaced:
  TRACBUS_DATABASE   the database, as [trac] database in trac.ini
  TRACBUS_REDIS      the URL of a Redis, in the place of [redis_client]
A password is read from trac.ini or one of these, and never printed.

exit codes:
  0  done; of status: all is well
  1  failed: the database or Redis refuses or does not answer, a file cannot be read
  2  the command line, trac.ini or a variable cannot work
  3  status: something is wrong, and it has printed what
`)
	return b.String()
}
