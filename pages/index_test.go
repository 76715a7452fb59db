package pages_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// created and deleted are events of a page without a text of interest.
func created(name string) tracbus.WikiPageCreated {
	return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1}}
}

func deleted(name string) tracbus.WikiPageDeleted {
	return tracbus.WikiPageDeleted{Page: tracbus.WikiPage{Name: name, Version: 1}}
}

func renamed(from, to string) tracbus.WikiPageRenamed {
	return tracbus.WikiPageRenamed{Page: tracbus.WikiPage{Name: to, Version: 1}, OldName: from}
}

// TestIndexFollowsEveryChange is the whole of it on a bus: pages come, go
// and change their names, and a set that somebody holds stays as it is.
func TestIndexFollowsEveryChange(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		index := pages.NewIndex(pages.Config{})
		bus.Wiki(tracbus.Everywhere, index)
		before := index.Get()

		readonly := tracbus.WikiPageChanged{Page: tracbus.WikiPage{Name: "NoText", Readonly: true}}
		missed := tracbus.WikiPageChanged{Page: tracbus.WikiPage{Name: "Missed", Version: 7}}
		require.NoError(t, bus.Notify(created("WikiStart"), created("B"), created("A"), created("B/C"),
			deleted("A"), renamed("B", "TracGuide"), readonly, missed, deleted("Unknown")))
		synctest.Wait()

		now := index.Get()
		assert.Equal(t, []string{"B/C", "Missed", "TracGuide", "WikiStart"}, slices.Sorted(now.All()))
		assert.Equal(t, 4, now.Len())
		assert.True(t, now.Has("WikiStart"))
		assert.True(t, now.Has("WikiStart/"), "Trac takes slashes off the end")
		assert.False(t, now.Has("B"), "was renamed")
		assert.False(t, now.Has(""))
		assert.Equal(t, 0, before.Len(), "a set does not change")

		require.NoError(t, bus.Notify(missed))
		synctest.Wait()
		assert.Same(t, now, index.Get(), "the text is not the index's concern")
		assert.Empty(t, l.lines())
		require.NoError(t, bus.Close(t.Context()))
	})
}

// TestSetAgainstAMap lets a set grow, shrink to nothing and grow again, and
// compares it with a map all the way.
func TestSetAgainstAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	index, want := pages.NewIndex(pages.Config{}), make(map[string]bool)
	name := func() string { return fmt.Sprintf("%c/%d", 'A'+random.IntN(4), random.IntN(1500)) }
	for step := range 30_000 {
		switch n, mood := name(), step/5000%2; {
		case random.IntN(4) == 0:
			to := name()
			require.NoError(t, index.WikiPageRenamed(t.Context(), renamed(n, to)))
			delete(want, n)
			want[to] = true
		case random.IntN(4) == mood:
			require.NoError(t, index.WikiPageCreated(t.Context(), created(n)))
			want[n] = true
		default:
			require.NoError(t, index.WikiPageDeleted(t.Context(), deleted(n)))
			delete(want, n)
		}
		require.Equal(t, len(want), index.Get().Len(), "after step %d", step)
		if step%1000 == 0 {
			requireSet(t, want, index.Get(), step)
		}
	}
	for n := range want {
		require.NoError(t, index.WikiPageDeleted(t.Context(), deleted(n)))
	}
	requireSet(t, nil, index.Get(), -1)
	require.NoError(t, index.WikiPageCreated(t.Context(), created("A/1")))
	requireSet(t, map[string]bool{"A/1": true}, index.Get(), -2)
}

func requireSet(t *testing.T, want map[string]bool, got *pages.Set, step int) {
	t.Helper()
	for name := range want {
		require.True(t, got.Has(name), "%s after step %d", name, step)
	}
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(got.All()), "after step %d", step)
	for range got.All() {
		break // as a loop may
	}
}

// TestReadersSeeWholeSets moves a page from name to name: whoever looks sees it
// under one of them, among all the others.
func TestReadersSeeWholeSets(t *testing.T) {
	index := pages.NewIndex(pages.Config{})
	for i := range 2000 {
		require.NoError(t, index.WikiPageCreated(t.Context(), created(fmt.Sprintf("Page%04d", i))))
	}
	require.NoError(t, index.WikiPageCreated(t.Context(), created("Here")))
	whileReading(t, func() {
		for i := range 5000 {
			from, to := "Here", "There"
			if i%2 == 1 {
				from, to = to, from
			}
			assert.NoError(t, index.WikiPageRenamed(context.Background(), renamed(from, to)))
		}
	}, func() {
		set := index.Get()
		assert.NotEqual(t, set.Has("Here"), set.Has("There"), "a page has one name")
		assert.Equal(t, 2001, set.Len())
		names := 0
		for range set.All() {
			names++
		}
		assert.Equal(t, 2001, names)
	})
}

// TestIndexAfterMissedChanges is on a bus without a journal, which drops
// changes when too many wait.
func TestIndexAfterMissedChanges(t *testing.T) {
	t.Run("loads what it is given", func(t *testing.T) {
		source := &memoryPages{}
		source.write("A", "text")
		index := pages.NewIndex(pages.Config{Fallback: source})
		require.NoError(t, index.Resync(t.Context(), tracbus.Resync{}))
		assert.Equal(t, []string{"A"}, slices.Sorted(index.Get().All()))
		assert.NoError(t, index.Err())

		source.fail = assert.AnError
		source.write("B", "text")
		assert.ErrorIs(t, index.Resync(t.Context(), tracbus.Resync{}), assert.AnError, "so that the bus repeats it")
		assert.Equal(t, []string{"A"}, slices.Sorted(index.Get().All()), "no half of it")
	})
	t.Run("says that it cannot know", func(t *testing.T) {
		logger, l := newLogs()
		index := pages.NewIndex(pages.Config{Logger: logger})
		require.NoError(t, index.WikiPageCreated(t.Context(), created("A")))
		for range 2 {
			require.NoError(t, index.Resync(t.Context(), tracbus.Resync{Reason: tracbus.ResyncOverflowed}))
		}
		assert.EqualError(t, index.Err(), "page index: changes were missed: overflowed")
		assert.Equal(t, 1, index.Get().Len(), "the best that is known")
		assert.Len(t, l.lines(), 1, "reported once")
	})
}

// TestIndexLoads reads an application's own tables through a snapshot.
func TestIndexLoads(t *testing.T) {
	source := &memoryPages{}
	for _, name := range []string{"C", "A", "B"} {
		source.write(name, "text")
	}
	index := pages.NewIndex(pages.Config{Source: twice{source}})
	require.NoError(t, index.Load(t.Context(), &tracbus.Snapshot{}))
	assert.Equal(t, []string{"A", "B", "C"}, slices.Sorted(index.Get().All()))
	source.fail = assert.AnError
	assert.ErrorIs(t, index.Load(t.Context(), &tracbus.Snapshot{}), assert.AnError)
	assert.Equal(t, 3, index.Get().Len())
}

// twice names each page twice, as a table with a row for each version may.
type twice struct{ *memoryPages }

func (s twice) Names(ctx context.Context, _ *tracbus.Snapshot) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s.memoryPages.Names(ctx, nil)(yield)
		if s.fail == nil {
			s.memoryPages.Names(ctx, nil)(yield)
		}
	}
}

// memoryPages is a Source: pages with all their versions, newest first.
type memoryPages struct {
	pages map[string][]tracbus.WikiPage
	fail  error // of every read, behind what it yields
}

func (m *memoryPages) write(name, text string) tracbus.WikiPage {
	if m.pages == nil {
		m.pages = make(map[string][]tracbus.WikiPage)
	}
	page := tracbus.WikiPage{Name: name, Version: int64(len(m.pages[name]) + 1), Text: text}
	m.pages[name] = slices.Insert(m.pages[name], 0, page)
	return page
}

func (m *memoryPages) Versions(_ context.Context, _ *tracbus.Snapshot, name string) iter.Seq2[tracbus.WikiPage, error] {
	return func(yield func(tracbus.WikiPage, error) bool) {
		for _, page := range m.pages[name] {
			if m.fail == nil && !yield(page, nil) {
				return
			}
		}
		if m.fail != nil {
			yield(tracbus.WikiPage{}, m.fail)
		}
	}
}

func (m *memoryPages) Names(context.Context, *tracbus.Snapshot) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name := range m.pages {
			if !yield(name, nil) {
				return
			}
		}
		if m.fail != nil {
			yield("", m.fail)
		}
	}
}

// BenchmarkIndex has 100,000 pages.
func BenchmarkIndex(b *testing.B) {
	index, names := pages.NewIndex(pages.Config{}), make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("Project%02d/Section%03d/Page%d", i%50, i%997, i)
	}
	for _, name := range names {
		_ = index.WikiPageCreated(b.Context(), created(name))
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })

	b.Run("has", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if !index.Get().Has(names[i%len(names)]) {
				b.Fatal("a page is missing")
			}
		}
	})
	b.Run("has not", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if index.Get().Has("NoPage") {
				b.Fatal("there is no such page")
			}
		}
	})
	b.Run("has, while pages come and go", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ctx.Err() == nil; i++ {
				_ = index.WikiPageCreated(ctx, created(fmt.Sprintf("New%d", i%100)))
				_ = index.WikiPageDeleted(ctx, deleted(fmt.Sprintf("New%d", i%100)))
			}
		}()
		for i := 0; b.Loop(); i++ {
			index.Get().Has(names[i%len(names)])
		}
		cancel()
		<-done
	})
	b.Run("create and delete", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			name := names[i%len(names)]
			_ = index.WikiPageDeleted(b.Context(), deleted(name))
			_ = index.WikiPageCreated(b.Context(), created(name))
		}
	})
	b.Run("iterate over all", func(b *testing.B) {
		for b.Loop() {
			for range index.Get().All() {
			}
		}
	})
}
