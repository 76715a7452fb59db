package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/environment"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/tracdb"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

// site is the environment that a command is about.
type site struct{ path string }

// flag defines -trac.
func (s *site) flag(flags *flag.FlagSet) {
	flags.StringVar(&s.path, "trac", os.Getenv("TRAC_ENV"), "")
}

// load reads the environment, and says what Trac passes over.
func (s *site) load(t *terminal) (*environment.Environment, error) {
	if s.path == "" {
		return nil, usageError("want -trac with the folder of a Trac environment, or $TRAC_ENV")
	}
	e, err := environment.Load(s.path)
	if err != nil {
		return nil, err
	}
	for _, warning := range e.Config.Warnings {
		t.say("%s", warning)
	}
	return e, nil
}

// realmsOf are the kinds of resources that Trac has.
func realmsOf(config *tracbus.Config) []tracbus.JournalRealm {
	return []tracbus.JournalRealm{
		trac.Tickets{CustomFields: config.CustomFields}, tracbus.Pages{},
		realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{},
	}
}

func realmNames() (names []tracbus.Realm) {
	for _, r := range realmsOf(&tracbus.Config{}) {
		names = append(names, r.Realm())
	}
	return names
}

// opened is the journal of an environment, with the database that it is in.
type opened struct {
	*tracbus.Journal
	env      *environment.Environment
	database *tracdb.Database
	db       *sql.DB
	bus      *tracbus.Bus
	lack     error // what a relay would miss; nil if nothing
}

// openDatabase opens the environment's database, which the caller closes.
func openDatabase(t *terminal, env *environment.Environment) (*tracdb.Database, *sql.DB, error) {
	database, err := env.Database()
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range database.Warnings {
		t.say("%s", warning)
	}
	db, err := database.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("open the %s: %w", database.Name, err)
	}
	return database, db, nil
}

// openJournal opens an environment's journal, with what captures Trac's changes, for a bus.
// It makes tables and triggers only if told to.
func openJournal(ctx context.Context, t *terminal, env *environment.Environment, bus *tracbus.Bus, install bool, config tracbus.JournalConfig) (*opened, error) {
	database, db, err := openDatabase(t, env)
	if err != nil {
		return nil, err
	}
	config.Dialect, config.Schema, config.NoMigrate = database.Dialect, database.Schema, !install
	config.Capture = trac.Capture{Install: install, Notify: install}
	config.Waker = database.Waker(db)
	config.Realms = realmsOf(env.Config)
	journal, err := tracbus.OpenJournal(ctx, db, bus, config)
	if err != nil {
		if errors.Is(err, tracbus.ErrSchema) && !install {
			err = fmt.Errorf("%w; \"tracbus relay -install -once\" makes what is missing, or the SQL that \"tracbus schema\" prints", err)
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", database.Name, err), db.Close())
	}
	return &opened{Journal: journal, env: env, database: database, db: db, bus: bus}, nil
}

// read opens the journal for a command that reads it, or keeps its tables. A journal
// without what captures Trac's changes will do, and one of tickets and pages alone, as
// other programs make it.
func (s *site) read(ctx context.Context, t *terminal) (*opened, error) {
	env, err := s.load(t)
	if err != nil {
		return nil, err
	}
	return read(ctx, t, env)
}

func read(ctx context.Context, t *terminal, env *environment.Environment) (*opened, error) {
	quiet := slog.New(slog.DiscardHandler) // errors are returned
	o, err := openJournal(ctx, t, env, tracbus.NewBus(env.Config.Env), false, tracbus.JournalConfig{Logger: quiet})
	if !errors.Is(err, tracbus.ErrSchema) {
		return o, err
	}
	database, db, failed := openDatabase(t, env)
	if failed != nil {
		return nil, failed
	}
	all := realmsOf(env.Config)
	for _, realms := range [][]tracbus.JournalRealm{all, all[:2]} {
		bus := tracbus.NewBus(env.Config.Env)
		config := tracbus.JournalConfig{Dialect: database.Dialect, Schema: database.Schema, NoMigrate: true, Realms: realms, Logger: quiet}
		if journal, failed := tracbus.OpenJournal(ctx, db, bus, config); failed == nil {
			return &opened{Journal: journal, env: env, database: database, db: db, bus: bus, lack: err}, nil
		}
	}
	return nil, errors.Join(err, db.Close())
}

// close ends what was opened by itself. It is for commands that deliver nothing.
func (o *opened) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = errors.Join(o.Journal.Close(ctx), o.bus.Close(ctx), o.db.Close()) // nothing was changed by way of them
}
