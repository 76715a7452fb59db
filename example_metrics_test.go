package tracbus_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tracbus/tracbus"
)

func ExampleWriteMetrics() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.setStatus(ctx, "joe", 17, "closed"); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	metrics(t.journal).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "tracbus_journal_head_tid ") {
			fmt.Print(line)
		}
	}
	// Prints:
	// mail: joe changed ticket 17: map[status:closed], before map[status:open]
	// tracbus_journal_head_tid 1
}

// metrics answers a Prometheus.
func metrics(j *tracbus.Journal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, err := j.Status(r.Context())
		if err != nil {
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		if err := tracbus.WriteMetrics(w, status.Metrics()); err != nil {
			slog.Warn("metrics", "err", err)
		}
	}
}
