// Package clerk is the people who use the applications of this folder: it creates, changes and
// deletes tickets. It knows nothing of tracbus.
package clerk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
)

// Tickets is an application.
type Tickets interface {
	Create(ctx context.Context, user, title string) (id int64, err error)
	Change(ctx context.Context, user string, id int64, title string) error
	Delete(ctx context.Context, user string, id int64) error
	IDs(ctx context.Context) ([]int64, error)
}

// Tasks is an application that has tasks too, each of which has a name, and is made when it first gets
// a title.
type Tasks interface {
	Do(ctx context.Context, user, name, title string) error
}

// errRefused is the rule of the applications. They look at it after they have written, so that there
// is something to roll back.
var errRefused = errors.New("a title of spam is refused")

// Check returns an error if a title is against the rule.
func Check(title string) error {
	if strings.Contains(title, "spam") {
		return errRefused
	}
	return nil
}

// Idle as the argument of a program has it wait for the end of its standard input, and write nothing.
const Idle = "idle"

// Work works until standard input ends. It prints a line after each change.
func Work(ctx context.Context, t Tickets) {
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	idle := len(os.Args) > 1 && os.Args[1] == Idle
	for n := 0; !idle && !over.Load(); n++ {
		if err := once(ctx, t, n); err != nil {
			if !errors.Is(err, errRefused) {
				log.Print(err) // such as a ticket that somebody else has deleted
			}
			continue
		}
		fmt.Println(n)
	}
	<-ended
}

// once does one thing: the title is another one each time.
func once(ctx context.Context, t Tickets, n int) error {
	title, user := fmt.Sprintf("%d.%d", os.Getpid(), n), fmt.Sprintf("user%d", n%3)
	if rand.IntN(5) == 0 {
		title += " spam"
	}
	if tasks, has := t.(Tasks); has && rand.IntN(4) == 0 {
		return tasks.Do(ctx, user, fmt.Sprintf("task%d", rand.IntN(5)), title)
	}
	ids, err := t.IDs(ctx)
	if err != nil {
		return err
	}
	if len(ids) < 3 || rand.IntN(4) == 0 && len(ids) < 30 {
		_, err := t.Create(ctx, user, title)
		return err
	}
	id := ids[rand.IntN(len(ids))]
	if rand.IntN(4) == 0 {
		return t.Delete(ctx, user, id)
	}
	return t.Change(ctx, user, id, title)
}

// Must returns v, and panics if there is an error.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
