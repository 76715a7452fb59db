package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// A header says where a request comes from only if a proxy of this site has written it.
func TestAddressOf(t *testing.T) {
	var proxies networks
	require.NoError(t, proxies.Set("10.0.0.0/8, ::1,127.0.0.1"))
	for _, tc := range []struct {
		peer    string
		headers []string
		want    string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"},
		{"10.1.2.3:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"198.51.100.1", "203.0.113.9, 10.7.7.7"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		{"10.1.2.3:5", []string{"<script>"}, "10.1.2.3"},
		{"10.1.2.3:5", []string{"203.0.113.9, <script>"}, "10.1.2.3"},
		{"10.1.2.3:5", nil, "10.1.2.3"},
		{"[::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"[::ffff:10.1.2.3]:5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"nonsense", []string{"203.0.113.9"}, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = tc.peer, tc.headers
		assert.Equal(t, tc.want, (&site{proxies: proxies}).addressOf(r).String(), "%s %q", tc.peer, tc.headers)
		none := (&site{}).addressOf(r)
		assert.Equal(t, peer(r), none, "nobody is believed by default")
		r.Header.Set("X-Forwarded-Proto", "https")
		assert.Equal(t, proxies.have(peer(r)), (&site{proxies: proxies}).encrypted(r))
		assert.False(t, (&site{}).encrypted(r))
	}
	for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0.1,"} {
		assert.ErrorContains(t, proxies.Set(bad), "expected an address or a network", "%q", bad)
	}
	one, other := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRequest(http.MethodGet, "/", nil)
	one.RemoteAddr, other.RemoteAddr = "[2001:db8::1]:5", "[2001:db8::2:3]:5"
	assert.Equal(t, crowd(peer(one)), crowd(peer(other)), "one machine has a network of them")
}

// From where somebody wrote is for operators, and so is which process answers.
func TestAddressesAreForOperators(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"), "-proxies", "127.0.0.1")
	p := r.start()
	operator, ann, stranger := newClient(t, p), newClient(t, p), newClient(t, p)
	operator.signIn("olga")
	ann.signIn("ann")
	stranger.http.Transport = from{stranger.http.Transport, "203.0.113.9"}
	stranger.ticket("summary", "x")
	stranger.send("/tickets/1", "/tickets/1", "description", "y")
	stranger.send("/wiki/New?action=edit", "/wiki/New", "do", "save", "text", "x")
	f := follow(t, p, "", "")
	for range 4 {
		e, ok := f.next()
		require.True(t, ok)
		assert.NotContains(t, e.data, "203.0.113.9")
	}
	link := regexp.MustCompile(`href="(/tickets/1\?diff=[^"]+)"`).FindStringSubmatch(operator.get("/tickets/1").body)
	require.NotNil(t, link)
	diff := link[1]
	for _, path := range []string{"/", "/tickets", "/tickets/1", "/wiki/New", "/wiki/New?action=history", diff} {
		for _, c := range []*client{ann, stranger} {
			a := c.get(path)
			assert.NotContains(t, a.body, "203.0.113.9", path)
			assert.NotContains(t, a.body, "process ", path)
		}
		assert.Contains(t, operator.get(path).body, "process ", path)
	}
	for _, path := range []string{"/tickets/1", "/wiki/New?action=history", diff} {
		a := operator.get(path)
		assert.Equal(t, 200, a.status, path)
		assert.Contains(t, a.body, "203.0.113.9", path)
	}
}

// from has requests come from elsewhere, by the word of a proxy.
type from struct {
	next    http.RoundTripper
	address string
}

func (f from) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", f.address)
	return f.next.RoundTrip(r)
}
