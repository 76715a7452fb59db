package foreign_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// writeAsTrac makes transactions with the statements of Trac 1.6's models, in their order: what they
// read before they lock anything may be stale.
func (p *process) writeAsTrac(ctx context.Context) error {
	p.db.SetMaxOpenConns(1)
	fmt.Println("foreign: ready")
	p.work(ctx, p.transactAsTrac)
	return nil
}

func sorted(ids []int64) []int64 {
	slices.Sort(ids)
	return ids
}

// step is a part of a transaction of Trac's, which has read what it needs.
type step func(ctx context.Context, q querier) error

func (p *process) transactAsTrac(ctx context.Context, token string) (result string, err error) {
	steps, err := p.stepsAsTrac(ctx, token)
	if err != nil {
		return rolledBack, err
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return rolledBack, err
	}
	defer tx.Rollback()
	for i, s := range steps {
		if i > 0 {
			record.Sleep(ctx, time.Duration(p.random.IntN(30))*time.Millisecond)
		}
		if err := s(ctx, tx); err != nil {
			return rolledBack, err
		}
	}
	if p.random.IntN(10) < 3 {
		return rolledBack, errRollback
	}
	if err := tx.Commit(); err != nil {
		return unknownWhich, err
	}
	return committed, nil
}

// stepsAsTrac chooses what a transaction does: something to one resource, or a batch of tickets.
func (p *process) stepsAsTrac(ctx context.Context, token string) (steps []step, err error) {
	one := func(s step, err error) ([]step, error) { return []step{s}, err }
	switch dice := p.random.IntN(100); {
	case dice < 45:
		ids, err := p.tickets(ctx, 3)
		for _, id := range ids {
			s, err := p.saveChanges(ctx, id, token)
			if err != nil {
				return nil, err
			}
			steps = append(steps, s)
		}
		return steps, err
	case dice < 52:
		return []step{p.insertTicket(token)}, nil
	case dice < 60:
		return one(p.modifyComment(ctx, token))
	case dice < 66:
		return one(p.deleteChange(ctx, token))
	case dice < 69:
		return one(p.deleteTicket(ctx, token))
	case dice < 74:
		return one(p.updateTicket(ctx, token))
	case dice < 90:
		return one(p.savePage(ctx, token))
	case dice < 94:
		return one(p.deleteVersion(ctx, token))
	case dice < 96:
		return []step{p.deletePage(token)}, nil
	}
	return one(p.renamePage(ctx, token))
}

// now is the time that a model takes before it waits for anything.
func now() int64 { return time.Now().UnixMicro() }

// saveChanges is Ticket.save_changes.
func (p *process) saveChanges(ctx context.Context, id int64, token string) (step, error) {
	old, err := p.d.state(ctx, p.db, strconv.FormatInt(id, 10), "")
	if err != nil {
		return nil, err
	}
	set := map[string]string{"keywords": token}
	if p.random.IntN(2) == 0 {
		set["milestone"] = fmt.Sprintf("m%d", p.random.IntN(3))
	}
	if p.random.IntN(2) == 0 {
		set[custom] = fmt.Sprintf("colour %d", p.random.IntN(3))
	}
	if p.random.IntN(4) == 0 {
		set["owner"] = ""
	} else if p.random.IntN(4) == 0 {
		set["owner"] = token
	}
	when := now()
	return func(ctx context.Context, q querier) error {
		if _, err := p.d.exec(ctx, q, "UPDATE ticket SET changetime=? WHERE id=?", when, id); err != nil {
			return err
		}
		number, err := p.commentNumber(ctx, q, id)
		if err != nil {
			return err
		}
		for field, value := range set {
			if err := p.setField(ctx, q, id, field, value); err != nil {
				return err
			}
			if _, err := p.d.exec(ctx, q, "INSERT INTO ticket_change (ticket,time,author,field,oldvalue,newvalue) VALUES (?, ?, ?, ?, ?, ?)",
				id, when, token, field, orNull(old[field]), orNull(value)); err != nil {
				return err
			}
		}
		if _, err := p.d.exec(ctx, q, "INSERT INTO ticket_change (ticket,time,author,field,oldvalue,newvalue) VALUES (?, ?, ?, 'comment', ?, ?)",
			id, when, token, number, token); err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(id), Kind: changed})
	}, nil
}

// orNull is what Trac writes of a value.
func orNull(value string) any {
	if value == "" {
		return nil
	}
	return value
}

func (p *process) setField(ctx context.Context, q querier, id int64, field, value string) error {
	if field != custom {
		_, err := p.d.exec(ctx, q, "UPDATE ticket SET "+field+"=? WHERE id=?", orNull(value), id)
		return err
	}
	var there int
	if err := q.QueryRowContext(ctx, p.d.text("SELECT count(*) FROM ticket_custom WHERE ticket=? AND name=?"), id, field).Scan(&there); err != nil {
		return err
	}
	text := "INSERT INTO ticket_custom (value,ticket,name) VALUES (?,?,?)"
	if there > 0 {
		text = "UPDATE ticket_custom SET value=? WHERE ticket=? AND name=?"
	}
	_, err := p.d.exec(ctx, q, text, orNull(value), id, field)
	return err
}

// commentNumber is one more than that of the newest change, which is not always the highest.
func (p *process) commentNumber(ctx context.Context, q querier, id int64) (number string, err error) {
	rows, err := q.QueryContext(ctx, p.d.text(`SELECT DISTINCT tc1.time, COALESCE(tc2.oldvalue,'') FROM ticket_change AS tc1
		LEFT OUTER JOIN ticket_change AS tc2 ON tc2.ticket=? AND tc2.time=tc1.time AND tc2.field='comment'
		WHERE tc1.ticket=? ORDER BY tc1.time DESC`), id, id)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var time int64
		var old string
		if err := rows.Scan(&time, &old); err != nil {
			return "", err
		}
		last, err := strconv.Atoi(old[strings.LastIndexByte(old, '.')+1:])
		if err == nil {
			n += last
			break
		}
		n++
	}
	return strconv.Itoa(n + 1), rows.Err()
}

// insertTicket is Ticket.insert.
func (p *process) insertTicket(token string) step {
	return func(ctx context.Context, q querier) error {
		when := now()
		text, args := "INSERT INTO ticket (summary,reporter,keywords,status,time,changetime) VALUES (?, ?, ?, 'new', ?, ?)", []any{token, token, token, when, when}
		var id int64
		if p.Dialect == tracbus.MySQL {
			result, err := q.ExecContext(ctx, text, args...)
			if err != nil {
				return err
			}
			if id, err = result.LastInsertId(); err != nil {
				return err
			}
		} else if err := q.QueryRowContext(ctx, p.d.text(text+" RETURNING id"), args...).Scan(&id); err != nil {
			return err
		}
		if p.random.IntN(2) == 0 {
			if _, err := p.d.exec(ctx, q, "INSERT INTO ticket_custom (ticket,name,value) VALUES (?, ?, ?)", id, custom, "colour 0"); err != nil {
				return err
			}
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(id), Kind: created})
	}
}

// modifyComment is Ticket.modify_comment: it locks the ticket's row last.
func (p *process) modifyComment(ctx context.Context, token string) (step, error) {
	ids, err := p.tickets(ctx, 1)
	if err != nil {
		return nil, err
	}
	id := ids[0]
	c, err := p.someComment(ctx, p.db, id)
	if err != nil {
		return nil, err
	}
	var revision int
	if err := p.db.QueryRowContext(ctx, p.d.text("SELECT count(*) FROM ticket_change WHERE ticket=? AND time=? AND field LIKE '~_comment%' ESCAPE '~'"), id, c.time).Scan(&revision); err != nil {
		return nil, err
	}
	return func(ctx context.Context, q querier) error {
		when := now()
		if _, err := p.d.exec(ctx, q, "INSERT INTO ticket_change (ticket,time,author,field,oldvalue,newvalue) VALUES (?, ?, ?, ?, ?, ?)",
			id, c.time, token, fmt.Sprintf("_comment%d", revision), c.text, strconv.FormatInt(when, 10)); err != nil {
			return err
		}
		found, err := p.d.exec(ctx, q, "UPDATE ticket_change SET newvalue=? WHERE ticket=? AND time=? AND field='comment'", token, id, c.time)
		if err != nil {
			return err
		}
		if _, err := p.d.exec(ctx, q, "UPDATE ticket SET changetime=? WHERE id=?", when, id); err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(id), Kind: commentEdited, Made: c.time, Ref: c.text, Stale: found == 0})
	}, nil
}

// deleteChange is Ticket.delete_change, which gives the fields back that nobody changed later.
func (p *process) deleteChange(ctx context.Context, token string) (step, error) {
	ids, err := p.tickets(ctx, 1)
	if err != nil {
		return nil, err
	}
	id := ids[0]
	c, err := p.someComment(ctx, p.db, id)
	if err != nil {
		return nil, err
	}
	type change struct {
		field    string
		old, new *string
		next     int64
	}
	rows, err := p.db.QueryContext(ctx, p.d.text(`SELECT a.field, a.oldvalue, a.newvalue, coalesce((SELECT min(b.time) FROM ticket_change b
		WHERE b.ticket=a.ticket AND b.field=a.field AND b.time>a.time), 0) FROM ticket_change a WHERE a.ticket=? AND a.time=?`), id, c.time)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var changes []change
	for rows.Next() {
		var one change
		if err := rows.Scan(&one.field, &one.old, &one.new, &one.next); err != nil {
			return nil, err
		}
		if one.field != "comment" && !strings.HasPrefix(one.field, "_") {
			changes = append(changes, one)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, q querier) error {
		when := now()
		for _, one := range changes {
			var err error
			switch {
			case one.next != 0:
				_, err = p.d.exec(ctx, q, "UPDATE ticket_change SET oldvalue=? WHERE ticket=? AND time=? AND field=? AND oldvalue=?", one.old, id, one.next, one.field, one.new)
			case one.field == custom:
				_, err = p.d.exec(ctx, q, "UPDATE ticket_custom SET value=? WHERE ticket=? AND name=?", one.old, id, custom)
			default:
				_, err = p.d.exec(ctx, q, "UPDATE ticket SET "+one.field+"=? WHERE id=?", one.old, id)
			}
			if err != nil {
				return err
			}
		}
		gone, err := p.d.exec(ctx, q, "DELETE FROM ticket_change WHERE ticket=? AND time=?", id, c.time)
		if err != nil {
			return err
		}
		if gone == 0 { // another one was faster, and its change of the ticket would be told as that of nobody
			return errNothing
		}
		if _, err := p.d.exec(ctx, q, "UPDATE ticket SET changetime=? WHERE id=?", when, id); err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(id), Kind: changeDeleted, Made: c.time})
	}, nil
}

// deleteTicket is Ticket.delete.
func (p *process) deleteTicket(ctx context.Context, token string) (step, error) {
	id, err := p.newTicket(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, q querier) error {
		gone, err := p.d.exec(ctx, q, "DELETE FROM ticket WHERE id=?", id)
		if err != nil {
			return err
		}
		if gone == 0 {
			return errNothing
		}
		for _, table := range []string{"ticket_change", "ticket_custom"} {
			if _, err := p.d.exec(ctx, q, "DELETE FROM "+table+" WHERE ticket=?", id); err != nil {
				return err
			}
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(id), Kind: deleted})
	}, nil
}

// updateTicket is what Trac does to a ticket when its component gets another name.
func (p *process) updateTicket(ctx context.Context, token string) (step, error) {
	ids, err := p.tickets(ctx, 1)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, q querier) error {
		n, err := p.d.exec(ctx, q, "UPDATE ticket SET component=? WHERE id=?", token, ids[0])
		if err == nil && n == 0 {
			err = errNothing
		}
		if err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: ticket(ids[0]), Kind: raw})
	}, nil
}
