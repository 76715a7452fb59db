package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/prom"
)

// ofPrometheus are the labels that Prometheus itself gives to what it scrapes.
var ofPrometheus = []string{"instance", "job"}

// metrics returns the labels of each metric that there is, by its name.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	prom.NewCollector(new(tracbus.Journal), tracbus.NewBus("test"), new(tracbus.Publisher)).Describe(descs)
	close(descs)
	text := regexp.MustCompile(`^Desc\{fqName: "(\w+)", .*, constLabels: \{\}, variableLabels: \{([\w,]*)\}`)
	found := map[string][]string{}
	for d := range descs {
		parts := text.FindStringSubmatch(d.String())
		require.NotNil(t, parts, d.String())
		found[parts[1]] = append(strings.FieldsFunc(parts[2], func(r rune) bool { return r == ',' }), ofPrometheus...)
	}
	require.NotEmpty(t, found)
	return found
}

// rules are a file of Prometheus's.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Annotations, Labels map[string]string
		}
	}
}

// wrongIn returns what is wrong with a query, or with the text of an alert on it.
func wrongIn(query, text string, metrics map[string][]string) (wrong []string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return []string{err.Error()}
	}
	say := func(parts ...string) { wrong = append(wrong, strings.Join(parts, " ")) }
	shown := map[string]bool{}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has, known := metrics[selector.Name]
		if !known {
			say("there is no metric", selector.Name)
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != model.MetricNameLabel && !slices.Contains(has, m.Name) {
				say(selector.Name, "has no label", m.Name)
			}
		}
		left := has
		for _, above := range slices.Backward(path) {
			switch above := above.(type) {
			case *parser.AggregateExpr:
				for _, name := range above.Grouping {
					if !slices.Contains(left, name) {
						say(selector.Name, "has no label", name)
					}
				}
				left = above.Grouping
			case *parser.Call:
				grows := strings.HasSuffix(selector.Name, "_total")
				if ofCounters := []string{"rate", "increase"}; grows != slices.Contains(ofCounters, above.Func.Name) && above.Func.Name != "scalar" && !strings.HasSuffix(above.Func.Name, "_over_time") {
					say(above.Func.Name, "is not for", selector.Name)
				}
			}
		}
		for _, name := range left {
			shown[name] = true
		}
		return nil
	})
	if len(wrong) == 0 && !shown["journal"] {
		say("it mixes the journals of a process")
	}
	for _, label := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
		if !shown[label[1]] {
			say("the text shows the label", label[1], "which the query has not")
		}
	}
	return wrong
}

// The queries and the alerts of docs/operations.md are PromQL, and of metrics that there are.
func TestQueries(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	all := metrics(t)

	_, table, found := strings.Cut(string(text), "| panel | query |\n|---|---|\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	row := regexp.MustCompile("^\\| [^|]+ \\| `([^|`]+)` \\|$")
	panels := strings.Split(table, "\n")
	for _, line := range panels {
		parts := row.FindStringSubmatch(line)
		if assert.NotNil(t, parts, line) {
			assert.Empty(t, wrongIn(parts[1], "", all), parts[1])
		}
	}
	assert.Greater(t, len(panels), 10)

	_, block, found := strings.Cut(string(text), "```yaml\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	var file rules
	decoder := yaml.NewDecoder(strings.NewReader(block))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))
	require.Len(t, file.Groups, 1)
	names := map[string]bool{}
	for _, rule := range file.Groups[0].Rules {
		assert.Empty(t, wrongIn(rule.Expr, rule.Annotations["summary"], all), rule.Expr)
		assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		assert.False(t, names[rule.Alert], rule.Alert)
		names[rule.Alert] = true
	}
	assert.Greater(t, len(names), 10)
}

// What the test above looks for, it sees.
func TestQueriesSeeWhatIsWrong(t *testing.T) {
	all := metrics(t)
	for query, want := range map[string]string{
		"max by (consumer (tracbus_consumer_tid)":                 "unexpected",
		"tracbus_consumer_lag":                                    "there is no metric tracbus_consumer_lag",
		`tracbus_consumer_tid{consumers="mail"}`:                  "tracbus_consumer_tid has no label consumers",
		"max by (listener) (tracbus_consumer_tid)":                "tracbus_consumer_tid has no label listener",
		"max by (job) (max by (consumer) (tracbus_consumer_tid))": "tracbus_consumer_tid has no label job",
		"rate(tracbus_consumer_tid[5m])":                          "rate is not for tracbus_consumer_tid",
		"deriv(tracbus_listener_failed_total[5m])":                "deriv is not for tracbus_listener_failed_total",
		"rate(tracbus_listener_failed_total)":                     "expected type range vector",
		"max by (consumer) (tracbus_consumer_tid) > 1":            "it mixes the journals of a process",
		"max by (job) (tracbus_consumer_tid) > 1":                 "the text shows the label consumer which the query has not",
	} {
		assert.Contains(t, strings.Join(wrongIn(query, "{{ $labels.consumer }}", all), "\n"), want, query)
	}
	assert.Empty(t, wrongIn("max by (journal, consumer) (tracbus_consumer_tid) > 1", "{{ $labels.consumer }}", all))
}

// docs/telemetry.md names every metric.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "telemetry.md"))
	require.NoError(t, err)
	all := metrics(t)
	for name := range all {
		assert.True(t, strings.Contains(string(text), "`"+name+"`"), name)
	}
	for _, name := range regexp.MustCompile("`(tracbus_\\w+)`").FindAllStringSubmatch(string(text), -1) {
		assert.Contains(t, all, name[1])
	}
}
