package tracbus

import (
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/value"
)

// maxID is how many bytes an index of all databases takes.
const maxID = 1000

// checkEntry refuses what the journal's tables cannot hold, and makes values what
// they come back as. Events of this package are normalised by now, those of
// others may not be.
func (j *Journal) checkEntry(e *Entry) (err error) {
	id, kind := e.Resource.ID, string(e.Kind)
	switch {
	case len(id) == 0 || len(id) > maxID:
		return fmt.Errorf("an id of %d bytes: expected 1 to %d", len(id), maxID)
	case value.Text(id) != id:
		return fmt.Errorf("id %.60q: expected UTF-8", id)
	case !realmName.MatchString(kind):
		return fmt.Errorf("kind %.60q: expected lower-case letters, digits and _, a letter first, 30 at most", kind)
	}
	e.Change.Time = e.Change.Time.UTC()
	if err := value.CheckTime(e.Change.Time); err != nil {
		return err
	}
	for _, f := range []*Fields{&e.State, &e.New, &e.Old} {
		if *f, err = journaled(*f); err != nil {
			return err
		}
	}
	if err := errors.Join(j.store.CheckText("id", id), j.store.CheckText("comment", e.Change.Comment)); err != nil {
		return err
	}
	for _, fields := range []Fields{e.New, e.Old} {
		for name, v := range fields {
			if len(name) == 0 || len(name) > maxID {
				return fmt.Errorf("a field's name of %d bytes: expected 1 to %d", len(name), maxID)
			}
			s, _ := v.(string)
			if err := errors.Join(j.store.CheckText("field", name), j.store.CheckText("field "+name, s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkText says why a text cannot be kept in this database.
func (j *Journal) checkText(name, s string) error { return j.store.CheckText(name, s) }
