package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/prom"
)

// statusPage is what the operator sees.
type statusPage struct {
	Journal     tracbus.JournalStatus
	Listeners   []tracbus.ListenerStatus
	Streams     int // browsers that watch
	DeadLetters map[string]deadLetterList
	Redis       *redisStatus // nil: there is none
	Pages       map[string]error
}

// deadLetterList are the dead letters of a consumer, the first of them.
type deadLetterList struct {
	Changes []tracbus.DeadLetter
	More    bool
}

// redisStatus says how Redis is, and what this process sent it.
type redisStatus struct {
	Answer time.Duration
	Err    error
	Sent   tracbus.PublisherStats
}

func (s *site) showStatus(w http.ResponseWriter, r *http.Request) error {
	if err := mustOperate(r, "see how the tracker works"); err != nil {
		return err
	}
	ctx := r.Context()
	page := statusPage{
		Listeners: s.bus.Status(), Streams: s.watching.count(), DeadLetters: map[string]deadLetterList{},
		Pages: map[string]error{"InterMapTxt": s.links.Err(), "BadContent": s.bad.Err()},
	}
	var err error
	if page.Journal, err = s.journal.Status(ctx); err != nil {
		return err
	}
	for _, consumer := range page.Journal.Consumers {
		if page.DeadLetters[consumer.Name], err = s.deadLetters(ctx, consumer); err != nil {
			return err
		}
	}
	if s.redis != nil {
		page.Redis = s.redisStatus(ctx)
	}
	return s.show(w, r, http.StatusOK, "status.html", view{Title: "Status", Section: "status", Body: page})
}

func (s *site) deadLetters(ctx context.Context, consumer tracbus.ConsumerStatus) (list deadLetterList, err error) {
	if consumer.DeadLetters == 0 {
		return list, nil
	}
	for a, err := range s.journal.DeadLetters(ctx, consumer.Name) {
		if err != nil {
			return list, err
		}
		if list.More = len(list.Changes) == 100; list.More {
			break
		}
		list.Changes = append(list.Changes, a)
	}
	return list, nil
}

func (s *site) redisStatus(ctx context.Context) *redisStatus {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	begun := time.Now()
	err := s.redis.Ping(ctx).Err()
	return &redisStatus{Answer: time.Since(begun), Err: err, Sent: s.publisher.Stats()}
}

// operate does what the buttons of the status page say.
func (s *site) operate(w http.ResponseWriter, r *http.Request) error {
	if err := mustOperate(r, "operate the tracker"); err != nil {
		return err
	}
	ctx, name := r.Context(), r.PostFormValue("name")
	which, err := deadLetterOf(r)
	if err != nil {
		return err
	}
	n := 0
	switch do := r.PostFormValue("do"); do {
	case "retry":
		n, err = s.journal.Redeliver(ctx, name, which...)
	case "drop":
		if len(which) == 0 {
			return refusal{http.StatusBadRequest, "Which change is to be given up?"}
		}
		n, err = s.journal.DropDeadLetters(ctx, name, which...)
	case "drop-consumer":
		n, err = s.dropConsumer(ctx, name)
	default:
		return refusal{http.StatusBadRequest, fmt.Sprintf("%q is nothing that can be done here.", do)}
	}
	if err != nil {
		return err
	}
	slog.Info("the operator asked for it", "do", r.PostFormValue("do"), "name", name, "changes", n, "by", visitorOf(r).Name)
	http.Redirect(w, r, "/status", http.StatusSeeOther)
	return nil
}

// deadLetterOf reads which change a button is for; none means all of the consumer.
func deadLetterOf(r *http.Request) ([]tracbus.DeadLetter, error) {
	if !r.PostForm.Has("tid") {
		return nil, nil
	}
	tid, err1 := strconv.ParseInt(r.PostFormValue("tid"), 10, 64)
	seq, err2 := strconv.Atoi(r.PostFormValue("seq"))
	if err := errors.Join(err1, err2); err != nil {
		return nil, refusal{http.StatusBadRequest, "That is no dead letter."}
	}
	return []tracbus.DeadLetter{{Consumer: r.PostFormValue("name"), TID: tid, Seq: seq}}, nil
}

// dropConsumer forgets a consumer that no process runs any more.
func (s *site) dropConsumer(ctx context.Context, name string) (int, error) {
	status, err := s.journal.Status(ctx)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(status.Consumers, func(o tracbus.ConsumerStatus) bool { return o.Name == name })
	switch {
	case i < 0:
		return 0, fmt.Errorf("name %q: %w", name, tracbus.ErrNotFound)
	case held(status.Consumers[i]):
		return 0, refusal{http.StatusConflict, fmt.Sprintf("A process runs %q: it would make the consumer again.", name)}
	}
	return 0, s.journal.DropConsumer(ctx, name)
}

// held says whether a process runs a name.
func held(o tracbus.ConsumerStatus) bool { return o.Holder != "" && o.LeaseRemaining > 0 }

// newMetricsServer answers a Prometheus, at an address of its own that no visitor needs.
func newMetricsServer(s *site) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", newMetrics(s.changes))
	return &http.Server{
		Handler:           s.forHost(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      40 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
}

// newMetrics returns what answers with the figures of this process.
func newMetrics(c *changes) http.Handler {
	var publishers []*tracbus.Publisher
	if c.publisher != nil {
		publishers = append(publishers, c.publisher)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(c.journal, c.bus, publishers...))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
