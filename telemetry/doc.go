// Package telemetry shows to OpenTelemetry what tracbus does: spans of commits and of calls of
// listeners, in the trace of the request that made the change, and the figures of package figures as
// metrics. It is a module of its own, so that an application without OpenTelemetry does not get its
// packages.
//
//	bus := tracbus.BusConfig{Tracer: telemetry.NewTracer(nil)}.NewBus("myenv")
//	…
//	registration, err := telemetry.Observe(nil, figures.Source{Journal: journal, Bus: bus})
//	defer registration.Unregister()
//
// The spans are
//
//	tracbus.commit    a transaction's changes are written to the journal; within the request
//	tracbus.deliver   a call of a listener, in whatever process
//	tracbus.publish   a call of a Publisher
//
// A call with one change is a part of the change's trace: its parent is the commit. A call with
// several has a link to each commit, and is a part of the trace if all are of one. What the listener
// does with its context is shown within the span. A change without a trace, such as one that Trac made,
// begins one with its first call.
//
// No span or metric has what a field of a resource says, a comment, an author or an address; an error is
// shown as the log shows it.
package telemetry

// scope names what makes spans and metrics, to OpenTelemetry.
const scope = "github.com/tracbus/tracbus/telemetry"
