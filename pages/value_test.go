package pages_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// newLogs returns a logger, and what it logged.
func newLogs() (*slog.Logger, *logs) {
	l := new(logs)
	return slog.New(l), l
}

// whileReading runs write while other goroutines call read again and again.
func whileReading(t *testing.T, write, read func()) {
	t.Helper()
	var readers sync.WaitGroup
	var done atomic.Bool
	started := make(chan struct{})
	for range max(2, runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			read()
			started <- struct{}{}
			for !done.Load() && !t.Failed() {
				read()
			}
		})
		<-started
	}
	write()
	done.Store(true)
	readers.Wait()
}

// count is a value that some texts do not have. A page that does not exist
// counts 0.
func count(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.Atoi(text)
}

// A limit that an administrator edits as a wiki page, and every upload obeys.
func ExampleNewValue() {
	bus := tracbus.NewBus("myenv")
	limit := pages.NewValue("UploadLimit", func(text string) (int, error) {
		if text == "" {
			return 1 << 20, nil // there is no such page
		}
		return strconv.Atoi(text)
	}, pages.Config{Logger: slog.New(slog.DiscardHandler)})
	bus.Wiki(tracbus.Everywhere, limit)
	fmt.Println(limit.Get())

	ctx := context.Background()
	for n, text := range []string{"4096", "a lot"} {
		page := tracbus.WikiPage{Name: "UploadLimit", Version: int64(n + 1), Text: text}
		_ = bus.Notify(tracbus.WikiPageChanged{Page: page}) // a journal does it by itself
		_ = bus.Wait(ctx)
		fmt.Println(limit.Get(), limit.Err())
	}
	_ = bus.Close(ctx)
	// Output:
	// 1048576
	// 4096 <nil>
	// 4096 page "UploadLimit", version 2: strconv.Atoi: parsing "a lot": invalid syntax
}

func version(n int64, name, text string) tracbus.WikiPageChanged {
	return tracbus.WikiPageChanged{Page: tracbus.WikiPage{Name: name, Version: n, Text: text}}
}

// TestValueFollowsThePage tells one story on a bus, and what the value is
// after each change.
func TestValueFollowsThePage(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, busLog *logs) {
		logger, l := newLogs()
		v := pages.NewValue("Limit", count, pages.Config{Logger: logger})
		bus.Wiki(tracbus.Everywhere, v)
		for _, step := range []struct {
			what  string
			event tracbus.Event
			value int
			err   string
		}{
			{"before it exists, another page", version(1, "Other", "9"), 0, ""},
			{"created", tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "Limit", Version: 1, Text: "1"}}, 1, ""},
			{"changed", version(2, "Limit", "2"), 2, ""},
			{"broken", version(3, "Limit", "many"), 2, `page "Limit", version 3: strconv.Atoi: parsing "many": invalid syntax`},
			{"broken, and now read-only", version(3, "Limit", "many"), 2, `page "Limit", version 3: strconv.Atoi: parsing "many": invalid syntax`},
			{"mended", version(4, "Limit", "4"), 4, ""},
			{"an older version deleted", versionDeleted("Limit", 2), 4, ""},
			{"renamed away", renamed("Limit", "OldLimit"), 0, ""},
			{"changed under its new name", version(5, "OldLimit", "5"), 0, ""},
			{"another renamed onto it", tracbus.WikiPageRenamed{
				Page: tracbus.WikiPage{Name: "Limit", Version: 8, Text: "8"}, OldName: "Draft"}, 8, ""},
			{"its last version deleted, which nobody can read", versionDeleted("Limit", 8), 8,
				`page "Limit": a version was deleted`},
			{"changed, which makes it good", version(8, "Limit", "88"), 88, ""},
			{"deleted", deleted("Limit"), 0, ""},
		} {
			require.NoError(t, bus.Notify(step.event), step.what)
			synctest.Wait()
			assert.Equal(t, step.value, v.Get(), step.what)
			if step.err == "" {
				assert.NoError(t, v.Err(), step.what)
			} else {
				assert.EqualError(t, v.Err(), step.err, step.what)
			}
		}
		assert.Equal(t, []string{
			"wiki page cannot be used: what is derived from it stays as it was page=Limit version=3",
			"wiki page cannot be used: what is derived from it stays as it was page=Limit version=8",
		}, l.lines("page", "version"), "each once")
		assert.Empty(t, busLog.lines(), "a broken page is no failure of the listener")
		require.NoError(t, bus.Close(t.Context()))
	})
}

func versionDeleted(name string, version int64) tracbus.WikiPageVersionDeleted {
	return tracbus.WikiPageVersionDeleted{Page: tracbus.WikiPage{Name: name, Version: version}}
}

// TestValueLoads reads an application's own tables, as a bus with a journal
// does. The value is that of the newest good version, so that a process that
// starts now has the same as one that saw the page break.
func TestValueLoads(t *testing.T) {
	logger, l := newLogs()
	source := &memoryPages{}
	v := pages.NewValue("Limit", count, pages.Config{Source: source, Logger: logger})
	load := func() error { return v.Load(t.Context(), &tracbus.Snapshot{}) }

	require.NoError(t, load())
	assert.Equal(t, 0, v.Get(), "there is no page")

	for _, text := range []string{"1", "2", "many", "more"} {
		source.write("Limit", text)
	}
	for range 2 {
		require.NoError(t, load())
		assert.Equal(t, 2, v.Get(), "versions 3 and 4 are broken")
		assert.ErrorContains(t, v.Err(), `page "Limit", version 4: strconv.Atoi: parsing "more"`)
	}
	assert.Len(t, l.lines(), 1, "the same page is reported once")

	source.pages["Limit"] = source.pages["Limit"][:2]
	require.NoError(t, load())
	assert.Equal(t, 0, v.Get(), "no version is good")
	assert.Error(t, v.Err())

	source.write("Limit", "5")
	require.NoError(t, load())
	assert.Equal(t, 5, v.Get())
	assert.NoError(t, v.Err())

	source.fail = assert.AnError
	source.write("Limit", "6")
	assert.ErrorIs(t, load(), assert.AnError, "so that the bus repeats it")
	assert.Equal(t, 5, v.Get())
	assert.NoError(t, v.Err(), "what it has is what it was told")
}

// TestValueAsksToBeLoaded of a bus with a journal where an event does not
// tell the text that counts now.
func TestValueAsksToBeLoaded(t *testing.T) {
	source := &memoryPages{}
	for _, text := range []string{"1", "2", "three", "4"} {
		source.write("Limit", text)
	}
	loaded := func() *pages.Value[int] {
		v := pages.NewValue("Limit", count, pages.Config{Source: source, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, v.Load(t.Context(), &tracbus.Snapshot{}))
		return v
	}
	ctx := t.Context()

	v := loaded()
	assert.NoError(t, v.WikiPageVersionDeleted(ctx, versionDeleted("Limit", 3)), "not the newest")
	assert.NoError(t, v.WikiPageVersionDeleted(ctx, versionDeleted("Other", 4)), "not the page")
	assert.ErrorIs(t, v.WikiPageVersionDeleted(ctx, versionDeleted("Limit", 4)), tracbus.ErrNeedsLoad)
	unknown := versionDeleted("Limit", 0)
	unknown.Absent = tracbus.AttrVersion
	assert.ErrorIs(t, v.WikiPageVersionDeleted(ctx, unknown), tracbus.ErrNeedsLoad)

	require.NoError(t, v.WikiPageChanged(ctx, version(5, "Limit", "five")))
	assert.Equal(t, 4, v.Get())
	assert.ErrorIs(t, v.WikiPageVersionDeleted(ctx, versionDeleted("Limit", 4)), tracbus.ErrNeedsLoad, "the last good one")

	v = loaded()
	broken := tracbus.WikiPageRenamed{Page: tracbus.WikiPage{Name: "Limit", Version: 9, Text: "nine"}, OldName: "Draft"}
	assert.ErrorIs(t, v.WikiPageRenamed(ctx, broken), tracbus.ErrNeedsLoad, "its good versions came along")

	v = loaded()
	untold := version(5, "Limit", "")
	untold.Absent = tracbus.AttrText
	assert.ErrorIs(t, v.WikiPageChanged(ctx, untold), tracbus.ErrNeedsLoad)
	assert.Equal(t, 4, v.Get())

	assert.NoError(t, v.WikiPageDeleted(ctx, deleted("Limit")))
	assert.ErrorIs(t, v.WikiPageVersionDeleted(ctx, versionDeleted("Limit", 1)), tracbus.ErrNeedsLoad, "still of a journal")
}

// TestValueWithoutJournal reads what it is given when an event does not tell
// the text, or the bus had to drop some.
func TestValueWithoutJournal(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, busLog *logs) {
		source := &memoryPages{}
		source.write("Limit", "1")
		v := pages.NewValue("Limit", count, pages.Config{Fallback: source})
		require.NoError(t, v.Resync(t.Context(), tracbus.Resync{}), "the start")
		assert.Equal(t, 1, v.Get())

		bus.Wiki(tracbus.Everywhere, v)
		page := source.write("Limit", "2")
		require.NoError(t, bus.Notify(tracbus.WikiPageChanged{Page: page}))
		synctest.Wait()
		assert.Equal(t, 2, v.Get())

		source.pages["Limit"] = source.pages["Limit"][1:]
		require.NoError(t, bus.Notify(tracbus.WikiPageVersionDeleted{Page: page}))
		synctest.Wait()
		assert.Equal(t, 1, v.Get(), "the version before")
		assert.NoError(t, v.Err())

		source.fail = assert.AnError
		assert.ErrorIs(t, v.Resync(t.Context(), tracbus.Resync{}), assert.AnError)
		assert.Equal(t, 1, v.Get())
		assert.Empty(t, busLog.lines())
		require.NoError(t, bus.Close(t.Context()))
	})
}

// TestValueSaysThatItCannotKnow has nothing to read from.
func TestValueSaysThatItCannotKnow(t *testing.T) {
	logger, l := newLogs()
	v := pages.NewValue("Limit", count, pages.Config{Logger: logger})
	require.NoError(t, v.WikiPageChanged(t.Context(), version(1, "Limit", "1")))
	for range 2 {
		require.NoError(t, v.Resync(t.Context(), tracbus.Resync{Reason: tracbus.ResyncOverflowed}))
	}
	assert.EqualError(t, v.Err(), `page "Limit": changes were missed: overflowed`)
	assert.Equal(t, 1, v.Get(), "the best that is known")
	assert.Len(t, l.lines(), 1)

	require.NoError(t, v.WikiPageChanged(t.Context(), version(2, "Limit", "1")))
	assert.NoError(t, v.Err(), "the next text is the newest")
}

// TestReadersSeeWholeValues has a value of two halves, of which every second
// text has only one.
func TestReadersSeeWholeValues(t *testing.T) {
	type halves struct{ left, right []int }
	v := pages.NewValue("Halves", func(text string) (h halves, err error) {
		n, _ := strconv.Atoi(text)
		h.left = make([]int, n)
		runtime.Gosched()
		if n%2 == 1 {
			return h, errors.New("no second half")
		}
		h.right = make([]int, n)
		return h, nil
	}, pages.Config{Logger: slog.New(slog.DiscardHandler)})
	whileReading(t, func() {
		for i := range 3000 {
			ctx := context.Background()
			assert.NoError(t, v.WikiPageChanged(ctx, version(int64(i), "Halves", fmt.Sprint(i%100))))
			if i%300 == 0 {
				assert.NoError(t, v.WikiPageRenamed(ctx, renamed("Halves", "Gone")))
				assert.NoError(t, v.Resync(ctx, tracbus.Resync{}))
			}
		}
	}, func() {
		h := v.Get()
		assert.Equal(t, len(h.left), len(h.right))
		_ = v.Err()
	})
}

func TestNewValueNeedsAValueForNoPage(t *testing.T) {
	assert.PanicsWithValue(t, "pages: NewValue needs a parse function that accepts the empty text, "+
		`which a page has that does not exist; for page "Limit" it returned: strconv.Atoi: parsing "": invalid syntax`,
		func() { pages.NewValue("Limit", strconv.Atoi, pages.Config{}) })
}

// BenchmarkValueGet reads a value as each request does.
func BenchmarkValueGet(b *testing.B) {
	v := pages.NewValue("Limit", count, pages.Config{})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			_ = v.Get()
		}
	})
}
