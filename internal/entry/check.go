package entry

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/tracbus/tracbus/internal/value"
)

var validName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,29}$`)

// CheckName refuses the name of a realm or of a kind that cannot be a part of a
// table's name and of a channel. what says what the name is of.
func CheckName(what, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s %.60q: expected lower-case letters, digits and _, a letter first, 30 at most", what, name)
	}
	return nil
}

// maxID is how many bytes an index of all databases takes.
const maxID = 1000

// Check refuses what the journal's tables cannot hold, and makes values what they
// come back as. normalised says that names and values are, but for their times' zones:
// those of the library's own events. checkText says why the database cannot store a text,
// and gets what the text is.
func (e *Entry) Check(normalised bool, checkText func(what, text string) error) (err error) {
	id := e.Resource.ID
	switch {
	case len(id) == 0 || len(id) > maxID:
		return fmt.Errorf("an id of %d bytes: expected 1 to %d", len(id), maxID)
	case value.Text(id) != id:
		return fmt.Errorf("id %.60q: expected UTF-8", id)
	}
	if err := CheckName("kind", e.Kind); err != nil {
		return err
	}
	e.Time = e.Time.UTC()
	if err := value.CheckTime(e.Time); err != nil {
		return err
	}
	for _, f := range []*Fields{&e.State, &e.New, &e.Old} {
		if !normalised {
			if *f, err = value.NormalizeFields(*f); err != nil {
				return err
			}
		}
		if *f, err = value.UTC(*f); err != nil {
			return err
		}
	}
	if err := errors.Join(checkText("id", id), checkText("comment", e.Comment)); err != nil {
		return err
	}
	for _, fields := range []Fields{e.New, e.Old} {
		for name, v := range fields {
			if len(name) == 0 || len(name) > maxID {
				return fmt.Errorf("a field's name of %d bytes: expected 1 to %d", len(name), maxID)
			}
			s, _ := v.(string)
			if err := errors.Join(checkText("field", name), checkText("field "+name, s)); err != nil {
				return err
			}
		}
	}
	return nil
}
