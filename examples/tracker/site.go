package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/examples/tracker/internal/markup"
)

// site is what browsers see.
type site struct {
	*changes
	db        *tracdb.DB
	env       string
	hosts     []string
	operators []string
	process   string // which one of those that share the database this is
	proxies   networks

	watching   *watching
	replaying  slots // for changes that a browser has missed
	rendering  slots // for texts that are shown
	signing    slots // for passwords
	signIns    *signIns
	compare    func(hash, password []byte) error
	searching  slots // for texts that are searched for what is forbidden
	closing    context.Context
	endStreams func()
}

func newSite(c *changes, db *tracdb.DB, o settings, address string) *site {
	s := &site{
		changes: c, db: db, env: o.env, hosts: o.hosts, operators: o.operators,
		proxies: o.proxies, watching: newWatching(), rendering: make(slots, runtime.GOMAXPROCS(0)),
		replaying: make(slots, 4), signing: make(slots, max(1, runtime.GOMAXPROCS(0)/2)), signIns: newSignIns(), compare: bcrypt.CompareHashAndPassword,
		searching: make(slots, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	s.process = fmt.Sprintf("process %d on %s", os.Getpid(), address)
	s.closing, s.endStreams = context.WithCancel(context.Background())
	return s
}

//go:embed static
var staticFiles embed.FS

// routes are the pages and forms, which guard looks at first.
func (s *site) routes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                  s.showTimeline,
		"GET /tickets":              s.showTickets,
		"GET /tickets/new":          s.showNewTicket,
		"POST /tickets/new":         s.createTicket,
		"POST /tickets/batch":       s.changeTickets,
		"GET /tickets/{id}":         s.showTicket,
		"POST /tickets/{id}":        s.changeTicket,
		"POST /tickets/{id}/delete": s.deleteTicket,
		"GET /wiki":                 s.showPages,
		"POST /wiki":                s.goToPage,
		"GET /wiki/{name...}":       s.showPage,
		"POST /wiki/{name...}":      s.changePage,
		"GET /status":               s.showStatus,
		"POST /status":              s.operate,
		"GET /account":              s.showAccount,
		"POST /account":             s.changeAccount,
		"/": func(http.ResponseWriter, *http.Request) error {
			return refusal{http.StatusNotFound, "There is no such page."}
		},
	}
}

// others are what is no page.
func (s *site) others() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /static/": http.FileServerFS(staticFiles),
		"GET /changes": http.HandlerFunc(s.streamChanges),
	}
}

// handler serves everything.
func (s *site) handler() http.Handler {
	pages := http.NewServeMux()
	for route, show := range s.routes() {
		pages.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			if err := show(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	all := http.NewServeMux()
	for route, other := range s.others() {
		all.Handle(route, other)
	}
	all.Handle("/", s.guard(pages))
	return s.forHost(http.NewCrossOriginProtection().Handler(withHeaders(withLimit(all))))
}

// html shows a text as a part of a page.
func (s *site) html(ctx context.Context, text string) (html template.HTML, err error) {
	err = s.rendering.do(ctx, func() error {
		html, err = markup.HTML(text, s.pages.Get(), s.links)
		return err
	})
	return html, err
}

//go:embed views
var viewFiles embed.FS

var views = template.Must(template.New("").Funcs(template.FuncMap{
	"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"round":    round,
	"pageLink": markup.PageLink,
	"excerpt":  excerpt,
	"line":     shownLine,
	"held":     held,
	"list":     func(values ...any) []any { return values },
}).ParseFS(viewFiles, "views/*.html"))

// round leaves out what nobody wants to know of a duration.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Second)
}

// excerpt shortens a text to one line.
func excerpt(text string) string {
	const most = 200
	text = shownLine(strings.Join(strings.Fields(text), " "))
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}

// view is a page: what all have in common, and what one shows.
type view struct {
	Title   string
	Section string // of the navigation
	Body    any

	Env, Process string
	Visitor      visitor
	Token        string // goes into every form
	Here         string // path and query to come back to; "": of the page the visitor sees, or has seen last
	At           place  // up to which the page shows all changes
}

// show answers with a page. at is where the journal stood before the page's data
// was read: the browser watches for what comes behind it.
func (s *site) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.Env, v.Process, v.Visitor, v.Here = s.env, s.process, visitorOf(r), cmp.Or(v.Here, cameFrom(r))
	v.Token = v.Visitor.token()
	var page bytes.Buffer
	if err := views.ExecuteTemplate(&page, name, v); err != nil {
		return fmt.Errorf("show %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // a browser that is gone need not be told
	return nil
}
