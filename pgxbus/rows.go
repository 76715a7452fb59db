package pgxbus

import (
	"bytes"
	"database/sql/driver"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows are pgx's as a driver's.
type rows struct {
	pgx.Rows
	types       *pgtype.Map
	first, more bool // the first row was read already, or that there is none
}

// Columns implements [driver.Rows].
func (r *rows) Columns() []string {
	var names []string
	for _, f := range r.FieldDescriptions() {
		names = append(names, f.Name)
	}
	return names
}

// Close implements [driver.Rows].
func (r *rows) Close() error {
	r.Rows.Close()
	return r.Err()
}

// Next implements [driver.Rows].
func (r *rows) Next(into []driver.Value) error {
	more := r.more
	if !r.first {
		more = r.Rows.Next()
	}
	if r.first = false; !more {
		if err := r.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, raw := range r.RawValues() {
		var err error
		if into[i], err = r.value(r.FieldDescriptions()[i].DataTypeOID, r.FieldDescriptions()[i].Format, raw); err != nil {
			return err
		}
	}
	return nil
}

// value returns one as package sql has it.
func (r *rows) value(oid uint32, format int16, raw []byte) (driver.Value, error) {
	if raw == nil {
		return nil, nil
	}
	switch oid {
	case pgtype.BoolOID:
		return scanned[bool](r.types, oid, format, raw)
	case pgtype.ByteaOID:
		return scanned[[]byte](r.types, oid, format, raw)
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return scanned[int64](r.types, oid, format, raw)
	case pgtype.JSONOID, pgtype.JSONBOID:
		return bytes.Clone(raw), nil
	case pgtype.OIDOID:
		n, err := scanned[uint32](r.types, oid, format, raw)
		return int64(n), err
	case pgtype.Float4OID, pgtype.Float8OID:
		return scanned[float64](r.types, oid, format, raw)
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID:
		return scanned[time.Time](r.types, oid, format, raw)
	}
	return string(raw), nil
}

func scanned[T any](types *pgtype.Map, oid uint32, format int16, raw []byte) (v T, err error) {
	err = types.Scan(oid, format, raw, &v)
	return v, err
}
