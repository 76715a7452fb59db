package queries

import "context"

const createTicket = `INSERT INTO ticket (title) VALUES (?)`

// CreateTicket returns the new ticket's id.
func (q *Queries) CreateTicket(ctx context.Context, title string) (int64, error) {
	result, err := q.db.ExecContext(ctx, createTicket, title)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

const listTickets = `SELECT id FROM ticket`

// ListTickets returns the ids of all tickets.
func (q *Queries) ListTickets(ctx context.Context) ([]int64, error) {
	rows, err := q.db.QueryContext(ctx, listTickets)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		items = append(items, id)
	}
	return items, rows.Err()
}

const lockTicket = `SELECT title FROM ticket WHERE id = ? FOR UPDATE`

// LockTicket returns a ticket's title.
func (q *Queries) LockTicket(ctx context.Context, id int64) (string, error) {
	var title string
	err := q.db.QueryRowContext(ctx, lockTicket, id).Scan(&title)
	return title, err
}

const updateTicket = `UPDATE ticket SET title = ? WHERE id = ?`

// UpdateTicketParams are those of UpdateTicket.
type UpdateTicketParams struct {
	Title string
	ID    int64
}

// UpdateTicket changes a ticket.
func (q *Queries) UpdateTicket(ctx context.Context, arg UpdateTicketParams) error {
	_, err := q.db.ExecContext(ctx, updateTicket, arg.Title, arg.ID)
	return err
}

const deleteTicket = `DELETE FROM ticket WHERE id = ?`

// DeleteTicket deletes a ticket.
func (q *Queries) DeleteTicket(ctx context.Context, id int64) error {
	_, err := q.db.ExecContext(ctx, deleteTicket, id)
	return err
}
