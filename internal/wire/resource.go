package wire

import (
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// Resource is what the payload of a plain resource says: of whom it is, and what is known of
// its values.
type Resource struct {
	Realm, ID string
	Said      Said
	Time      time.Time

	Values, New, Old map[string]any // nil: it is not said
}

// AppendResource appends the payload.
func AppendResource(dst []byte, r Resource, orders *value.Orders) (_ []byte, err error) {
	dst = value.AppendString(append(dst, `{"realm":`...), r.Realm)
	dst = value.AppendString(value.AppendKey(dst, "id"), r.ID)
	dst = r.Said.append(dst)
	if !r.Said.Absent.Has(Time) {
		dst = appendTime(dst, "time", r.Time)
	}
	for _, part := range []struct {
		name   string
		fields map[string]any
	}{{"values", r.Values}, {"new_values", r.New}, {"old_values", r.Old}} {
		if part.fields == nil {
			continue
		}
		dst = append(value.AppendKey(dst, part.name), '{')
		if dst, err = orders.AppendFields(dst, part.fields, ""); err != nil {
			return dst, fmt.Errorf("%s: %w", part.name, err)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}'), nil
}

// Resource reads what AppendResource has written.
func (r *Reader) Resource() (res Resource) {
	res.Realm, res.ID = r.Text("realm", 0), r.Text("id", 0)
	res.Said.Author, res.Said.Comment = r.Text("author", Author), r.Text("comment", Comment)
	res.Time = r.Time("time", Time)
	for _, m := range r.Members {
		switch m.Name {
		case "values":
			res.Values = r.Object(m.Name)
		case "new_values":
			res.New = r.Object(m.Name)
		case "old_values":
			res.Old = r.Object(m.Name)
		}
	}
	return res
}
