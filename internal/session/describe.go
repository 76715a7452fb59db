package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Described is what may be said of a session.
type Described struct {
	Text string
	Age  time.Duration // of its transaction; to users without the right PROCESS, of its last statement
}

// Describe describes sessions by their numbers, as far as this user may see them.
func (all *Sessions) Describe(ctx context.Context, ids []int64) (map[int64]Described, error) {
	found := map[int64]Described{}
	if len(ids) == 0 {
		return found, nil
	}
	err := all.ask(ctx, ids, "SELECT id, concat_ws(', ', concat('user ', user), concat('from ', host), lower(command), nullif(state, '')), time FROM information_schema.processlist WHERE id IN ",
		func(id int64, text string, seconds int64) {
			found[id] = Described{fmt.Sprintf("connection %d, %s", id, text), time.Duration(seconds) * time.Second}
		})
	if err != nil {
		return nil, err
	}
	_ = all.ask(ctx, ids, "SELECT trx_mysql_thread_id, trx_state, timestampdiff(SECOND, trx_started, now()) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id IN ",
		func(id int64, _ string, seconds int64) { // it needs the right PROCESS
			if d, ok := found[id]; ok {
				found[id] = Described{d.Text, time.Duration(seconds) * time.Second}
			}
		})
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			found[id] = Described{Text: fmt.Sprintf("connection %d, which this user may not see, or which has left a prepared transaction", id)}
		}
	}
	return found, nil
}

func (all *Sessions) ask(ctx context.Context, ids []int64, text string, each func(id int64, text string, seconds int64)) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := all.DB.QueryContext(ctx, fmt.Sprintf("%s(?%s) LIMIT %d", text, strings.Repeat(", ?", len(ids)-1), len(ids)), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, seconds int64
		var said string
		if err := rows.Scan(&id, &said, &seconds); err != nil {
			return err
		}
		each(id, said, seconds)
	}
	return errors.Join(rows.Err(), rows.Close())
}
