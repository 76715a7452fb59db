package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/plain"
)

const deadLettersUsage = `usage: tracbus dead-letters [list] [-trac DIR] [-consumer NAME] [-json]
       tracbus dead-letters show -consumer NAME CHANGE...
       tracbus dead-letters redeliver -consumer NAME CHANGE... | -all
       tracbus dead-letters discard -consumer NAME CHANGE... | -all

Dead letters are changes that a durable consumer has given up, such as a mail that was
refused several times. A relay has none: it repeats until it succeeds. CHANGE is as list
prints it: the tid, a dot, and the place in the transaction.

  list          prints them
  show          prints each with the change itself
  redeliver     has them delivered again, by the process that holds the consumer
  discard       forgets them: they are never delivered

  -trac DIR         the folder of the environment, or its trac.ini (default $TRAC_ENV)
  -consumer NAME    whose (list: default all)
  -all              all of the consumer
  -json             one line of JSON for each: consumer, tid, seq, realm, id, error, attempts,
                    failed_at, redelivering; or redelivered, discarded

  tracbus dead-letters -trac /srv/trac/myenv
  tracbus dead-letters redeliver -trac /srv/trac/myenv -consumer mail 4711.0
`

// deadLetters lists and ends dead letters.
type deadLetters struct {
	site     site
	consumer string
	all      bool
	json     bool
}

func deadLettersCommand() command {
	return command{"dead-letters", "list, redeliver or discard what consumers gave up", deadLettersUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &deadLetters{}
		c.site.flag(flags)
		flags.StringVar(&c.consumer, "consumer", "", "")
		flags.BoolVar(&c.all, "all", false, "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *deadLetters) run(ctx context.Context, t *terminal, words []string) error {
	verb := "list"
	if len(words) > 0 {
		verb, words = words[0], words[1:]
	}
	var which []tracbus.DeadLetter
	for _, word := range words {
		tid, seq, _ := strings.Cut(word, ".")
		n, err1 := strconv.ParseInt(tid, 10, 64)
		place, err2 := strconv.Atoi(seq)
		if err1 != nil || err2 != nil {
			return usageError("dead-letters: want a change such as 4711.0")
		}
		which = append(which, tracbus.DeadLetter{TID: n, Seq: place})
	}
	switch verb {
	case "list":
		if len(which) > 0 || c.all {
			return usageError("dead-letters list: want no change: it prints all")
		}
	case "show", "redeliver", "discard":
		if c.consumer == "" || c.all == (len(which) > 0) || c.all && verb == "show" {
			return usageError("dead-letters " + verb + ": want -consumer, and which changes")
		}
	default:
		return usageError("dead-letters: want list, show, redeliver or discard")
	}
	o, err := c.site.read(ctx, t)
	if err != nil {
		return err
	}
	defer o.close()
	switch verb {
	case "redeliver":
		n, err := o.Redeliver(ctx, c.consumer, which...)
		if err != nil {
			return err
		}
		return c.done(t, "redelivered", n, len(which))
	case "discard":
		return c.discard(ctx, t, o, which)
	}
	return c.list(ctx, t, o, which, verb == "show")
}

// done prints how many there were. To name some that are not there is an error.
func (c *deadLetters) done(t *terminal, what string, n, asked int) error {
	if c.json {
		if err := t.printJSON(map[string]int{what: n}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(t.out, "%d %s\n", n, what); err != nil {
		return err
	}
	if n < asked {
		return fmt.Errorf("%d of %d are no dead letters of %q", asked-n, asked, c.consumer)
	}
	return nil
}

func (c *deadLetters) discard(ctx context.Context, t *terminal, o *opened, which []tracbus.DeadLetter) error {
	asked := len(which)
	if c.all {
		for d, err := range o.DeadLetters(ctx, c.consumer) {
			if err != nil {
				return err
			}
			which = append(which, d)
		}
	}
	n, err := o.DropDeadLetters(ctx, c.consumer, which...)
	if err != nil {
		return err
	}
	return c.done(t, "discarded", n, asked)
}

// deadLetterLine is a dead letter as JSON.
type deadLetterLine struct {
	Consumer     string     `json:"consumer"`
	TID          int64      `json:"tid"`
	Seq          int        `json:"seq"`
	Realm        string     `json:"realm"`
	ID           string     `json:"id"`
	Error        string     `json:"error"`
	Attempts     int        `json:"attempts"`
	FailedAt     time.Time  `json:"failed_at"`
	Redelivering bool       `json:"redelivering"`
	Change       *eventLine `json:"change,omitempty"`
}

// list prints dead letters, with the changes if they are to be shown.
func (c *deadLetters) list(ctx context.Context, t *terminal, o *opened, which []tracbus.DeadLetter, show bool) error {
	names := []string{c.consumer}
	if c.consumer == "" {
		s, err := o.Status(ctx)
		if err != nil {
			return err
		}
		names = nil
		for _, consumer := range s.Consumers {
			names = append(names, consumer.Name)
		}
	}
	wanted := func(d tracbus.DeadLetter) bool {
		for _, w := range which {
			if w.TID == d.TID && w.Seq == d.Seq {
				return true
			}
		}
		return len(which) == 0
	}
	printed := 0
	for _, name := range names {
		for d, err := range o.DeadLetters(ctx, name) {
			if err != nil {
				return err
			}
			if !wanted(d) {
				continue
			}
			if err := c.print(ctx, t, o, d, show); err != nil {
				return err
			}
			printed++
		}
	}
	if printed < len(which) {
		return fmt.Errorf("%d of %d are no dead letters of %q", len(which)-printed, len(which), c.consumer)
	}
	return nil
}

func (c *deadLetters) print(ctx context.Context, t *terminal, o *opened, d tracbus.DeadLetter, show bool) error {
	s := shower{t: t, publisher: o.env.Config.Publisher}
	var change *item
	if show {
		i, err := changeAt(ctx, o, d)
		if err != nil {
			return err
		}
		change = &i
	}
	if c.json {
		l := deadLetterLine{Consumer: d.Consumer, TID: d.TID, Seq: d.Seq, Realm: string(d.Resource.Realm), ID: d.Resource.ID,
			Error: d.Err, Attempts: d.Attempts, FailedAt: d.FailedAt, Redelivering: d.Redelivering}
		if change != nil {
			line := lineOf(s.complete(*change))
			l.Change = &line
		}
		return t.printJSON(l)
	}
	again := ""
	if d.Redelivering {
		again = "  (is redelivered)"
	}
	_, err := fmt.Fprintf(t.out, "%s  %d.%d  %s  failed %d times until %s: %s%s\n", plain.Word(d.Consumer), d.TID, d.Seq,
		plain.Word(d.Resource.String()), d.Attempts, d.FailedAt.Local().Format(time.DateTime), plain.Word(d.Err), again)
	if err == nil && change != nil {
		err = s.show(*change)
	}
	return err
}

// changeAt returns the change of a dead letter.
func changeAt(ctx context.Context, o *opened, d tracbus.DeadLetter) (item, error) {
	for e, err := range o.Since(ctx, d.TID-1) {
		switch {
		case err != nil:
			return item{err: err}, nil // such as one that cannot be read: that is why it is a dead letter
		case e.About().TID == d.TID && e.About().Seq == d.Seq:
			return item{event: e}, nil
		case e.About().TID > d.TID:
			return item{}, fmt.Errorf("the change %d.%d is not in the journal any more", d.TID, d.Seq)
		}
	}
	return item{}, fmt.Errorf("the change %d.%d is not in the journal", d.TID, d.Seq)
}
