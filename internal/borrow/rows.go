package borrow

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"reflect"
)

// rows are what a query has found.
type rows struct {
	*sql.Rows
	loan *Loan
	wait wait

	values []any // of one row, with a pointer to each in into
	into   []any
	types  []*sql.ColumnType // of this result; nil until somebody asks
	next   bool              // Rows is at the next result already
}

// open runs a query, whose rows stay open.
func (l *Loan) open(ctx context.Context, query func(context.Context) (*sql.Rows, error)) (driver.Rows, error) {
	if err := l.ask(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	w := l.during(ctx)
	found, err := query(w.ctx)
	if err != nil {
		w.release()
		return nil, w.explain(err)
	}
	w.pause()
	r := &rows{Rows: found, loan: l, wait: w}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == nil {
		l.rows = map[*rows]bool{}
	}
	l.rows[r] = true
	return r, nil
}

// Columns implements [driver.Rows].
func (r *rows) Columns() []string {
	names, _ := r.Rows.Columns()
	return names
}

// Next implements [driver.Rows].
func (r *rows) Next(dest []driver.Value) error {
	if err := r.loan.use(); err != nil {
		return err
	}
	defer r.loan.leave()
	r.wait.resume()
	defer r.wait.pause()
	if !r.Rows.Next() {
		return r.over()
	}
	if len(r.values) != len(dest) {
		r.values, r.into = make([]any, len(dest)), make([]any, len(dest))
		for i := range r.values {
			r.into[i] = &r.values[i]
		}
	}
	if err := r.Scan(r.into...); err != nil {
		return err
	}
	for i, v := range r.values {
		dest[i] = v
	}
	return nil
}

// over says why there is no more.
func (r *rows) over() error {
	if err := r.Err(); err != nil {
		return r.wait.explain(err)
	}
	r.loan.mu.Lock()
	defer r.loan.mu.Unlock()
	if r.loan.returned != nil {
		return r.loan.returned // which has closed them
	}
	return io.EOF
}

// Close implements [driver.Rows]. After the loan, the rows are closed already.
func (r *rows) Close() error {
	if r.loan.use() != nil {
		return nil
	}
	defer r.loan.leave()
	r.loan.mu.Lock()
	delete(r.loan.rows, r)
	r.loan.mu.Unlock()
	return r.close()
}

// close reads what is left, and closes the rows. While it reads it can be interrupted:
// MySQL's driver heeds no context while it closes rows.
func (r *rows) close() error {
	r.wait.resume()
	for more := r.loan.drains; more; more = r.Rows.NextResultSet() {
		for r.Rows.Next() {
		}
	}
	err := r.Rows.Close()
	if r.wait.ctx.Err() != nil || err != nil { // it may have been in the midst of a statement
		r.loan.failed()
	}
	r.wait.release()
	return err
}

// HasNextResultSet implements [driver.RowsNextResultSet]. It is asked after the last row.
func (r *rows) HasNextResultSet() bool {
	if r.loan.use() != nil {
		return false
	}
	defer r.loan.leave()
	r.next = r.next || r.Rows.NextResultSet()
	return r.next
}

// NextResultSet implements [driver.RowsNextResultSet].
func (r *rows) NextResultSet() error {
	if err := r.loan.use(); err != nil {
		return err
	}
	defer r.loan.leave()
	if !r.HasNextResultSet() {
		return r.over()
	}
	r.next, r.types = false, nil
	return nil
}

// column returns the type of a column, if there is one.
func (r *rows) column(i int) (column *sql.ColumnType, ok bool) {
	if r.types == nil {
		r.types, _ = r.ColumnTypes()
	}
	if i >= len(r.types) {
		return nil, false
	}
	return r.types[i], true
}

// ColumnTypeScanType implements [driver.RowsColumnTypeScanType].
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if c, ok := r.column(i); ok {
		return c.ScanType()
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeDatabaseTypeName implements [driver.RowsColumnTypeDatabaseTypeName].
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if c, ok := r.column(i); ok {
		return c.DatabaseTypeName()
	}
	return ""
}

// ColumnTypeLength implements [driver.RowsColumnTypeLength].
func (r *rows) ColumnTypeLength(i int) (length int64, ok bool) {
	if c, ok := r.column(i); ok {
		return c.Length()
	}
	return 0, false
}

// ColumnTypeNullable implements [driver.RowsColumnTypeNullable].
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	if c, ok := r.column(i); ok {
		return c.Nullable()
	}
	return false, false
}

// ColumnTypePrecisionScale implements [driver.RowsColumnTypePrecisionScale].
func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	if c, ok := r.column(i); ok {
		return c.DecimalSize()
	}
	return 0, 0, false
}
