package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/environment"
	"github.com/tracbus/tracbus/trac"
)

// captureReport is what is captured of Trac's changes.
type captureReport struct {
	Captured []string `json:"captured"` // tables
	Wrong    []string `json:"wrong"`
	Waiting  int64    `json:"waiting"`
}

// capture adds what is captured. without says that what captures is not installed.
func (r *statusReport) capture(s tracbus.CaptureStatus, without bool) {
	r.Capture = &captureReport{append([]string{}, s.Captured...), append([]string{}, s.Wrong...), s.Waiting}
	if without {
		r.wrong("capture_off", "nothing that Trac itself writes is captured: run \"tracbus relay -install -once\"")
	}
	for _, what := range s.Wrong {
		r.wrong("capture_off", "not all that Trac writes is captured: %s; run \"tracbus relay -install -once\"", what)
	}
	if s.Err != nil {
		r.wrong("capture_failing", "what is captured cannot be imported: %v", s.Err)
	}
}

// uninstallCapture drops what captures changes. What waits is imported after the triggers
// are gone.
func uninstallCapture(ctx context.Context, t *terminal, o *opened) error {
	drop := func() error { return trac.UninstallCapture(ctx, o.db, o.database.Dialect, o.database.Schema) }
	err := drop()
	if !errors.Is(err, trac.ErrInboxNotEmpty) {
		return err
	}
	t.say("%v; importing", err)
	running := make(chan error, 1)
	go func() { running <- o.Run(ctx) }()
	for {
		s, err := o.Status(ctx)
		if err == nil {
			err = s.Capture.Err
		}
		if err != nil {
			return fmt.Errorf("import what waits: %w", err)
		}
		if s.Capture.Waiting == 0 {
			return drop()
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case err := <-running:
			return fmt.Errorf("import what waits: the journal is not followed any more: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// uninstallAlone drops what captures changes where there is no journal, or not all of one. What
// waits stays, because nothing can take it in.
func uninstallAlone(ctx context.Context, t *terminal, env *environment.Environment) error {
	database, db, err := openDatabase(t, env)
	if err != nil {
		return err
	}
	err = trac.UninstallCapture(ctx, db, database.Dialect, database.Schema)
	if errors.Is(err, trac.ErrInboxNotEmpty) {
		err = fmt.Errorf("%w, and there is no journal to take that in: \"tracbus relay -install -once\" makes one, or drop the tables journal_inbox and journal_capture by hand", err)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", database.Name, err)
	}
	return errors.Join(err, db.Close())
}
