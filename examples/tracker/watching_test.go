package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// watch opens a stream that reads nothing, and returns what was answered.
func watch(t *testing.T, p *process, from string) (status int, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/changes", nil)
	require.NoError(t, err)
	r.Header.Set("X-Forwarded-For", from)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response.StatusCode, func() { _ = response.Body.Close() }
}

// One address, or one network of a machine, takes the streams of nobody else.
func TestStreamsOfOneAddress(t *testing.T) {
	var proxies networks
	require.NoError(t, proxies.Set("127.0.0.1"))
	s, p := newInside(t, settings{proxies: proxies})
	var leave func()
	for i := range mostCrowd {
		var status int
		status, leave = watch(t, p, fmt.Sprintf("2001:db8::%x", i))
		require.Equal(t, 200, status)
	}
	status, _ := watch(t, p, "2001:db8::ffff")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	status, _ = watch(t, p, "2001:db8:0:1::1")
	assert.Equal(t, 200, status, "somebody else")
	leave()
	eventually(t, "one has left", func() bool { return s.watching.count() == mostCrowd })
	status, _ = watch(t, p, "2001:db8::ffff")
	assert.Equal(t, 200, status)
}

func TestStreamsOfAll(t *testing.T) {
	w := newWatching()
	var all []func()
	for i := range mostStreams {
		leave, ok := w.enter(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 20)}))
		require.True(t, ok)
		all = append(all, leave)
	}
	_, ok := w.enter(netip.MustParseAddr("198.51.100.1"))
	assert.False(t, ok)
	for _, leave := range all {
		leave()
	}
	assert.Zero(t, w.count())
	assert.Empty(t, w.from, "addresses that have left take no memory")
}

// One customer has many networks of IPv6, and takes the streams of nobody else.
func TestStreamsOfOneSite(t *testing.T) {
	w := newWatching()
	var all []func()
	for i := range mostSite {
		leave, ok := w.enter(netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", i)))
		require.True(t, ok)
		all = append(all, leave)
	}
	_, ok := w.enter(netip.MustParseAddr("2001:db8:0:ffff::1"))
	assert.False(t, ok)
	leave, ok := w.enter(netip.MustParseAddr("2001:db8:1::1"))
	assert.True(t, ok, "another one")
	for _, leave := range append(all, leave) {
		leave()
	}
	assert.Zero(t, w.count())
	assert.Empty(t, w.from)
}

// Who missed much is sent all of it only if they are signed in; and reading it for many
// streams keeps no page waiting.
func TestReplay(t *testing.T) {
	s, p := newInside(t, settings{})
	c := newClient(t, p)
	c.signIn("ann")
	const made = mostAsked + 50
	tid, err := s.journal.Update(ticking(t), tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
		for range made {
			if err := tx.Save(ticking(t), trac.TicketCreate{Set: tracbus.Fields{"summary": "x"}}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	s.wait(ticking(t), tid)
	count := func(c *http.Client) (changes, resyncs int) {
		response, err := c.Get(p.url + "/changes")
		require.NoError(t, err)
		defer response.Body.Close()
		require.NoError(t, readEvents(response.Body, func(e told) bool {
			if e.event == "resync" {
				resyncs++
			} else {
				changes++
			}
			return resyncs == 0 && changes < made+1
		}))
		return changes, resyncs
	}
	changes, resyncs := count(c.http)
	assert.Equal(t, []int{made + 1, 0}, []int{changes, resyncs}, "signed in: the first page too")
	changes, resyncs = count(newClient(t, p).http)
	assert.Equal(t, 1, resyncs)
	assert.LessOrEqual(t, changes, mostAsked)

	for range cap(s.replaying) {
		s.replaying <- struct{}{}
	}
	f := follow(t, p, "", "")
	assert.Equal(t, 200, c.get("/").status)
	for range cap(s.replaying) {
		<-s.replaying
	}
	f.expect("change")
}
