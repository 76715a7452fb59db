package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store"
)

// Append is [store.Store.Append] in a transaction of an application on PostgreSQL, in one round trip
// with what locks resources, and with COMMIT if that is to be. ctx then bounds how long others are waited
// for, and does not interrupt what may commit. An error that wraps [store.ErrInDoubt] says that it may have.
func Append(ctx context.Context, s *store.Store, q Tx, commitID, origin string, changes []store.Change, resources [][2]string, commit bool) (tid int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var most time.Duration // for which others are waited for; zero: the limit, when nobody waits any more
	if end, ends := ctx.Deadline(); ends {
		most = min(s.Limits().Lock, max(time.Until(end), time.Millisecond))
	}
	if commit {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(most, s.Limits().Lock)+s.Limits().Commit)
		defer cancel()
		ctx = bounded
	} else {
		defer s.Within(s.Limits().Lock, &ctx, &err)()
	}
	template, class := s.Taking()
	all := statements(template, class, store.Slots(resources), store.Rows(commitID, origin, changes), most, &tid)
	for i := range all {
		all[i].Text = s.SQL(all[i].Text)
	}
	switch err = q.Send(ctx, commit, all...); {
	case err == nil:
		return tid, nil
	case errors.Is(err, ErrNotSent):
		return 0, err
	case !sqltext.PostgreSQLAnswered(err):
		if commit {
			err = fmt.Errorf("%w: %w", store.ErrInDoubt, err)
		}
		return 0, err
	case strings.Contains(err.Error(), refusedSession):
		err = fmt.Errorf("%w: %w", store.ErrUnsupported, err)
	case strings.Contains(err.Error(), refusedTID) || sqltext.IsDuplicate(err) && strings.Contains(err.Error(), "journal_change"):
		err = fmt.Errorf("%w, as after a restore of a part of the database: %w", store.ErrCounter, err)
	case sqltext.IsLockTimeout(err):
		err = fmt.Errorf("%w for %v: others have locked what was recorded: %w", limit.ErrNoAnswer, most, err)
	}
	return 0, err
}
