// Package testkit has what many tests share: to wait for what nobody announces, to
// catch what is logged and published, and to see goroutines that do not end. It
// knows nothing of this library, so that tests of each package can use it.
package testkit
