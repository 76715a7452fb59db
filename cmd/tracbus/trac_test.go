package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// realEnvironment is an environment that a real Trac has made.
func realEnvironment(t *testing.T, trac *realtrac.Trac, s *testdatabase.Server) (*environment, *realtrac.Environment) {
	t.Helper()
	made := trac.NewEnvironment(s)
	e := &environment{t: t, server: s, folder: made.Path, scan: testkit.ScanForSecrets(t, redisPassword)}
	e.redis = testserver.Redis(t, testserver.RedisOptions{}) // the plugin's loop gives no password
	e.vars = append(e.vars, "TRACBUS_REDIS=redis://"+e.redis.Addr())
	return e, made
}

// browser fills in Trac's forms.
type browser struct {
	t      *testing.T
	client *http.Client
	site   string
	token  string // of its forms
}

func browse(t *testing.T, addr string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := &browser{t: t, site: "http://" + addr, client: &http.Client{Jar: jar, Timeout: testkit.Patience}}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	page, err := b.client.Get(b.site + "/newticket")
	require.NoError(t, err)
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	token := regexp.MustCompile(`name="__FORM_TOKEN" value="([0-9a-f]+)"`).FindSubmatch(text)
	require.NotNil(t, token, "%.3000s", text)
	b.token = string(token[1])
	return b
}

// newTicket saves a new ticket, and returns when Trac has answered.
func (b *browser) newTicket(summary string) {
	b.t.Helper()
	form := url.Values{"__FORM_TOKEN": {b.token}, "field_summary": {summary}, "field_reporter": {"joe"}, "field_description": {""}, "submit": {"create"}}
	page, err := b.client.PostForm(b.site+"/newticket", form)
	require.NoError(b.t, err)
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusSeeOther, page.StatusCode, "%.3000s", text)
}

// What somebody saves in Trac with a browser is printed by the loop of the plugin's README.
// How long that takes is printed.
func TestTracInTheBrowser(t *testing.T) {
	trac := realtrac.Find(t)
	const saves = 50
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e, made := realEnvironment(t, trac, s)
		made.Admin("permission", "add", "anonymous", "TICKET_CREATE")
		b := browse(t, made.Serve())
		e.relay("-install")
		loop := exec.Command(testserver.Python(t), filepath.Join("..", "..", "testdata", "subscriber.py"), "127.0.0.1", strconv.Itoa(e.redis.Port()), "trac.*")
		printed, err := loop.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, loop.Start())
		t.Cleanup(func() {
			_ = loop.Process.Kill()
			_ = loop.Wait()
		})
		type heard struct {
			line string
			at   time.Time
		}
		lines := make(chan heard, saves+1)
		go func() {
			defer close(lines)
			for in := bufio.NewScanner(printed); in.Scan(); {
				lines <- heard{in.Text(), time.Now()}
			}
		}()
		next := func() heard {
			t.Helper()
			select {
			case l, ok := <-lines:
				require.True(t, ok, "the loop has ended")
				return l
			case <-time.After(testkit.Patience):
				t.Fatal("the loop prints nothing")
				return heard{}
			}
		}
		require.Equal(t, "subscribed", next().line)

		var fromClick, fromAnswer []time.Duration
		for i := range saves {
			summary := fmt.Sprintf("ticket %d of the browser", i+1)
			clicked := time.Now()
			b.newTicket(summary)
			answered := time.Now()
			got := next()
			var message [2]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(got.line), &message), got.line)
			assert.Equal(t, strconv.Quote("trac."+filepath.Base(made.Path)+".ticket.created"), string(message[0]))
			assert.Contains(t, string(message[1]), strconv.Quote(summary))
			fromClick = append(fromClick, got.at.Sub(clicked))
			fromAnswer = append(fromAnswer, max(got.at.Sub(answered), 0))
		}
		for name, all := range map[string][]time.Duration{"from the click": fromClick, "from Trac's answer": fromAnswer} {
			slices.Sort(all)
			t.Logf("%s to the line of the loop, %d saves, %s, by poll: median %v, p99 %v", name, saves, s.Dialect,
				all[saves/2].Round(100*time.Microsecond), all[saves*99/100].Round(100*time.Microsecond))
		}
	})
}

// An upgrade that makes Trac's tables again takes the triggers with it: status says so, and
// -install makes them again. What uninstall leaves is Trac's alone.
func TestUpgradeOfTrac(t *testing.T) {
	trac := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e, made := realEnvironment(t, trac, s)
		made.Admin("permission", "add", "anonymous", "TICKET_CREATE")
		b := browse(t, made.Serve())
		p := e.relay("-install")
		heard := e.listen()
		b.newTicket("before")
		assert.Equal(t, "before", heard.summary())

		again := trac.Command("-c", `import sys
from trac.env import open_environment
from trac.db.api import DatabaseManager
from trac import db_default
env = open_environment(sys.argv[1])
DatabaseManager(env).upgrade_tables([t for t in db_default.schema if t.name in ('ticket', 'wiki', 'milestone')])
env.shutdown()`, made.Path)
		out, err := again.CombinedOutput()
		require.NoError(t, err, "%s", out)
		st, code := e.status()
		assert.Equal(t, 3, code)
		testkit.Until(t, "the relay says what is missing", func() bool {
			return strings.Contains(p.said.String(), "what others write is not captured")
		})
		assert.Contains(t, st.codes(), "capture_off")
		b.newTicket("lost") // Trac works, and nobody hears of it

		repairs := e.relay("-install")
		st, _ = e.status()
		assert.NotContains(t, st.codes(), "capture_off", "%v", st.Problems)
		b.newTicket("after")
		assert.Equal(t, "after", heard.summary())
		for _, r := range []*process{p, repairs} {
			r.signal(syscall.SIGTERM)
			assert.Equal(t, 0, r.code())
		}
		code, _, said := e.run("uninstall", "-yes")
		assert.Equal(t, 0, code, said)
		b.newTicket("at the end")
		heard.silent()
	})
}

// summary is that of the next ticket that is created.
func (h *ear) summary() any {
	h.t.Helper()
	channel, payload := h.next()
	assert.Regexp(h.t, `ticket\.created$`, channel)
	return payload["summary"]
}
