// Package contract makes docs/asyncapi.yaml, the description of channels, messages and
// stream entries for programs that are not written in Go. It asks the event types and
// the encoder: every member of a payload, its types and when it is null are found out by
// encoding events that differ in one field. So the document says what is sent, and its
// test fails if that changes. Only tests use it.
//
//	go test ./tests/contract -run TestAsyncAPI -update
package contract
