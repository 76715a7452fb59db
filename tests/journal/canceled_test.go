package journal_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCanceledCommit cancels a COMMIT in the server, which says so, or ends the session
// in it. What was canceled is not committed. What the end of a session means is asked
// for by the commit id; without a change there is none.
func TestCanceledCommit(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
	for _, statement := range []string{ // a commit with such a row cancels itself, or ends its session
		`CREATE TABLE slow (n integer)`,
		`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM CASE NEW.n WHEN 1 THEN pg_cancel_backend(pg_backend_pid()) ELSE pg_terminate_backend(pg_backend_pid()) END;
			PERFORM pg_sleep(60); RETURN NULL;
		END $$`,
		`CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()`,
	} {
		_, err := d.DB.ExecContext(testkit.Within(t), statement)
		require.NoError(t, err)
	}
	for _, test := range []struct {
		name    string
		n       int
		changes bool
		want    error
	}{
		{"canceled, without changes", 1, false, tracbus.ErrNotCommitted},
		{"canceled, with changes", 1, true, tracbus.ErrNotCommitted},
		{"ended, without changes", 2, false, tracbus.ErrCommitUnknown},
		{"ended, with changes", 2, true, tracbus.ErrNotCommitted},
	} {
		_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			ctx := testkit.Within(t)
			if _, err := tx.SQL().ExecContext(ctx, "INSERT INTO slow VALUES ($1)", test.n); err != nil {
				return err
			}
			if test.changes {
				return tx.Record(ctx, desk.Remark(1, test.name))
			}
			return nil
		})
		assert.ErrorIs(t, err, test.want, test.name)
		assert.Zero(t, stored(t, d.DB, test.name))
	}
}
