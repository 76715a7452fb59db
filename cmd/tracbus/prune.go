package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
)

const pruneUsage = `usage: tracbus prune [-trac DIR] -keep-for AGE | -keep-last NUMBER [FLAG...]

Deletes old transactions of the journal, not Trac's own history. It keeps what one of the
flags keeps, the last transaction, and what a durable consumer has not handled.

  -trac DIR                     the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -keep-for AGE                 keep what is younger, such as 90d or 36h
  -keep-last NUMBER             keep as many of the last transactions
  -drop-unconsumed-after AGE    delete what is older although a consumer has not handled it,
                                or has it as a dead letter (default never)
  -dry-run                      delete nothing, and print how many it would be
  -json                         one line of JSON: deleted, or would_delete

  tracbus prune -trac /srv/trac/myenv -keep-for 90d -keep-last 10000
`

// prune deletes old changes.
type prune struct {
	site           site
	keepFor        age
	keepLast       int64
	dropUnconsumed age
	dryRun         bool
	json           bool
}

// age is a time span that may be in days.
type age time.Duration

func (a *age) String() string { return time.Duration(*a).String() }

// Set implements [flag.Value].
func (a *age) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // 65,535 days fit into a Duration
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return errors.New("want a time such as 90d or 36h")
	}
	*a = age(d)
	return nil
}

func pruneCommand() command {
	return command{"prune", "delete old changes of the journal", pruneUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &prune{}
		c.site.flag(flags)
		flags.Var(&c.keepFor, "keep-for", "")
		flags.Int64Var(&c.keepLast, "keep-last", 0, "")
		flags.Var(&c.dropUnconsumed, "drop-unconsumed-after", "")
		flags.BoolVar(&c.dryRun, "dry-run", false, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *prune) run(ctx context.Context, t *terminal, words []string) error {
	switch {
	case len(words) > 0:
		return usageError("prune: want flags only")
	case c.keepLast < 0 || c.keepFor == 0 && c.keepLast == 0:
		return usageError("prune: want -keep-for, or -keep-last with a number above zero, or both")
	}
	o, err := c.site.read(ctx, t)
	if err != nil {
		return err
	}
	defer o.close()
	rule := tracbus.Retention{KeepFor: time.Duration(c.keepFor), KeepLast: c.keepLast, DropUnconsumedAfter: time.Duration(c.dropUnconsumed)}
	if c.dryRun {
		n, err := c.foresee(ctx, o, rule)
		if err != nil {
			return err
		}
		return c.print(t, "would_delete", "%d transactions would be deleted\n", n)
	}
	n, err := o.Prune(ctx, rule)
	if err != nil {
		return fmt.Errorf("%w; %d transactions were deleted", err, n)
	}
	return c.print(t, "deleted", "%d transactions were deleted\n", n)
}

func (c *prune) print(t *terminal, name, text string, n int64) error {
	if c.json {
		return t.printJSON(map[string]int64{name: n})
	}
	_, err := fmt.Fprintf(t.out, text, n)
	return err
}

// foresee counts what would be deleted.
func (c *prune) foresee(ctx context.Context, o *opened, rule tracbus.Retention) (int64, error) {
	s, err := store.Open(ctx, o.db, store.Config{Dialect: string(o.database.Dialect), Schema: o.database.Schema, Manual: true})
	if err != nil {
		return 0, err
	}
	return retention.Of(s, o.db).Foresee(ctx, retention.Rule(rule), progress.Of(s, o.db).SlowestConsumer)
}
