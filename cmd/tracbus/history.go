package main

import (
	"context"
	"flag"
	"slices"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/plain"
)

const historyUsage = `usage: tracbus history [-trac DIR] [FLAG...] REALM ID

Prints the changes of one resource, the oldest first: who did what, from which address.

  -trac DIR     the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -newest       the newest first
  -n NUMBER     end after so many
  -json         one line of JSON for each, as "tracbus tail -json"

REALM is ticket, wiki, milestone, component, version or attachment. A word that begins with
a dash comes after "--".

  tracbus history -trac /srv/trac/myenv ticket 17
  tracbus history -trac /srv/trac/myenv -newest -n 1 wiki WikiStart
`

// history prints the changes of one resource.
type history struct {
	site   site
	newest bool
	most   int
	json   bool
}

func historyCommand() command {
	return command{"history", "print the changes of one ticket, page, milestone …", historyUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &history{}
		c.site.flag(flags)
		flags.BoolVar(&c.newest, "newest", false, "")
		flags.IntVar(&c.most, "n", 0, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *history) run(ctx context.Context, t *terminal, words []string) error {
	switch {
	case len(words) != 2:
		return usageError("history: want a realm and an id, such as ticket 17")
	case !slices.Contains(realmNames(), tracbus.Realm(words[0])):
		return usageError("history: want a realm: ticket, wiki, milestone, component, version or attachment")
	case c.most < 0:
		return usageError("-n: want a number above zero")
	}
	o, err := c.site.read(ctx, t)
	if err != nil {
		return err
	}
	defer o.close()
	s := shower{t: t, json: c.json, colours: colourful(t.out), publisher: o.env.Config.Publisher}
	of := tracbus.Resource{Realm: tracbus.Realm(words[0]), ID: words[1]}
	changes := o.History(ctx, of)
	if c.newest {
		changes = o.HistoryBefore(ctx, of, 0)
	}
	shown := 0
	for e, err := range changes {
		if err != nil {
			return err
		}
		if err := s.show(item{event: e}); err != nil {
			return err
		}
		if shown++; shown == c.most {
			break
		}
	}
	if shown == 0 {
		t.say("the journal has no change of %s", plain.Quote(of.String()))
	}
	return nil
}
