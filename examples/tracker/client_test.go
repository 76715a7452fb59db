package main

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// client is a visitor without a browser: it keeps cookies and fills in forms.
type client struct {
	t    testing.TB
	http *http.Client
	base string
}

func newClient(t testing.TB, p *process) *client {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, http: &http.Client{Jar: jar, Transport: transport}, base: p.url}
}

// answer is what came of a request.
type answer struct {
	status int
	path   string // of the page it led to, with its query
	body   string
	header http.Header
}

// problem is what the page says went wrong, "" if nothing did.
func (a answer) problem() string {
	m := regexp.MustCompile(`(?s)<p class="problem" role="alert">(.*?)</p>`).FindStringSubmatch(a.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

func (c *client) do(r *http.Request) (answer, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Request.URL.RequestURI(), string(body), response.Header}, err
}

func (c *client) get(path string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ticking(c.t), http.MethodGet, c.base+path, nil)
	require.NoError(c.t, err)
	a, err := c.do(r)
	require.NoError(c.t, err)
	return a
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// hidden returns what the forms of a page send without the visitor's doing.
func (a answer) hidden() url.Values {
	values := url.Values{}
	for _, m := range hiddenInput.FindAllStringSubmatch(a.body, -1) {
		values.Set(m[1], html.UnescapeString(m[2]))
	}
	return values
}

// send sends the form of a page, filled in with names and values in turn.
func (c *client) send(page, to string, fields ...string) answer {
	c.t.Helper()
	a, err := c.trySend(ticking(c.t), page, to, fields...)
	require.NoError(c.t, err)
	return a
}

func (c *client) trySend(ctx context.Context, page, to string, fields ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+page, nil)
	if err != nil {
		return answer{}, err
	}
	shown, err := c.do(r)
	if err != nil {
		return answer{}, err
	}
	values := shown.hidden()
	for i := 0; i < len(fields); i += 2 {
		values.Del(fields[i])
	}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	return c.post(ctx, to, values)
}

func (c *client) post(ctx context.Context, to string, values url.Values) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+to, strings.NewReader(values.Encode()))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

// signIn makes an account and signs in.
func (c *client) signIn(name string) {
	c.t.Helper()
	a := c.send("/account", "/account", "name", name, "password", "the password of "+name, "do", "make", "next", "/status")
	require.Equal(c.t, "/status", a.path, "%s", a.problem())
	require.Contains(c.t, c.get("/").body, "Sign out")
}

// ticket makes a ticket and returns its number.
func (c *client) ticket(fields ...string) int {
	c.t.Helper()
	a := c.send("/tickets/new", "/tickets/new", fields...)
	var id int
	_, err := fmt.Sscanf(a.path, "/tickets/%d", &id)
	require.NoError(c.t, err, "%s %s", a.path, a.problem())
	return id
}

// told is a server-sent event.
type told struct{ id, event, data string }

// follower reads a stream of changes as an EventSource does, but reconnects only
// when it is told to.
type follower struct {
	t      testing.TB
	last   string // id of the last event
	events chan told
	end    context.CancelFunc
}

// follow begins to read behind a place, or, where last is not "", reconnects.
func follow(t testing.TB, p *process, after, last string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: t, events: make(chan told), end: cancel, last: last}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/changes?after="+url.QueryEscape(after), nil)
	require.NoError(t, err)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(f.events)
		defer response.Body.Close()
		_ = readEvents(response.Body, func(e told) bool {
			select {
			case f.events <- e:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// readEvents reads server-sent events as the standard says, until one is refused
// or the stream ends.
func readEvents(r io.Reader, take func(told) bool) error {
	var e told
	var data []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	lines.Split(func(b []byte, end bool) (int, []byte, error) { // \r ends a line too
		for i, c := range b {
			switch {
			case c == '\n':
				return i + 1, b[:i], nil
			case c == '\r' && (i+1 < len(b) || end):
				if i+1 < len(b) && b[i+1] == '\n' {
					return i + 2, b[:i], nil
				}
				return i + 1, b[:i], nil
			}
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != nil {
				e.data = strings.Join(data, "\n")
				if !take(e) {
					return nil
				}
			}
			e, data = told{id: e.id}, nil
		case name == "id":
			e.id = value
		case name == "event":
			e.event = value
		case name == "data":
			data = append(data, value)
		}
	}
	return lines.Err()
}

// next returns the next event; ok is false when the stream has ended.
func (f *follower) next() (e told, ok bool) {
	f.t.Helper()
	select {
	case e, ok = <-f.events:
		if ok {
			f.last = e.id
		}
		return e, ok
	case <-ticking(f.t).Done():
		f.t.Fatalf("nothing is told behind %q", f.last)
		return told{}, false
	}
}

// expect reads one event and returns what of it a person would read.
func (f *follower) expect(kind string) string {
	f.t.Helper()
	e, ok := f.next()
	require.True(f.t, ok, "the stream has ended behind %q", f.last)
	require.Equal(f.t, kind, e.event, "%s", e.data)
	return strings.Join(strings.Fields(html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(e.data, " "))), " ")
}
