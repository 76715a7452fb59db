package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/tracbus/tracbus"
)

const uninstallUsage = `usage: tracbus uninstall [-trac DIR] -yes

Drops what captures Trac's changes: the triggers, and, when the journal has taken in what
waits, the table that they fill. Trac's tables and the journal stay. Stop the relays of
the environment first. It needs the rights of who installed.

  -trac DIR    the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -yes         do it
  -json        one line of JSON: uninstalled

To remove the journal too, drop its tables, views, functions and sequence: all have names
that begin with journal_ or end with _journal or _history; "tracbus schema" lists them.

  tracbus uninstall -trac /srv/trac/myenv -yes
`

// uninstall drops what captures changes.
type uninstall struct {
	site site
	yes  bool
	json bool
}

func uninstallCommand() command {
	return command{"uninstall", "drop what captures Trac's changes", uninstallUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &uninstall{}
		c.site.flag(flags)
		flags.BoolVar(&c.yes, "yes", false, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *uninstall) run(ctx context.Context, t *terminal, words []string) error {
	switch {
	case len(words) > 0:
		return usageError("uninstall: want flags only")
	case !c.yes:
		return usageError("uninstall: want -yes, for it drops triggers in Trac's database")
	}
	env, err := c.site.load(t)
	if err != nil {
		return err
	}
	o, err := read(ctx, t, env)
	switch {
	case errors.Is(err, tracbus.ErrSchema): // the triggers must go nevertheless
		err = uninstallAlone(ctx, t, env)
	case err == nil:
		defer o.close()
		if err = uninstallCapture(ctx, t, o); err != nil {
			err = fmt.Errorf("%s: %w", o.database.Name, err)
		}
	}
	if err != nil {
		return err
	}
	if c.json {
		return t.printJSON(map[string]bool{"uninstalled": true})
	}
	_, err = fmt.Fprintln(t.out, "the triggers are dropped")
	return err
}
