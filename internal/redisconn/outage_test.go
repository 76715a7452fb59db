package redisconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOutageTellsEachReasonOnce(t *testing.T) {
	var o Outage
	var told []string
	for _, err := range []error{
		io.EOF, errors.New("connection refused"), reply("LOADING Redis is loading"), io.EOF, fmt.Errorf("wrapped: %w", reply("LOADING in other words")),
		reply("NOAUTH Authentication required."), reply("ERR max number of clients reached"), reply("ERR something else"),
		&SentinelError{"m", []string{"a"}, errors.New(noSentinel + ": redis: nil")}, &SentinelError{"m", []string{"a"}, errors.New(noSentinel + ": EOF")},
		&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, reply("LOADING Redis is loading"),
	} {
		if o.News(ReasonFor(err)) {
			told = append(told, ReasonFor(err))
		}
	}
	assert.Equal(t, []string{"", "LOADING", "NOAUTH", "ERR max number of clients reached", "ERR something else",
		`expected in master_name the name that "sentinel monitor" has in their configuration`, "certificate"}, told)
	for i := range 100 {
		if o.News(ReasonFor(reply(fmt.Sprint("ERR ", i)))) {
			told = append(told, "made up")
		}
	}
	assert.Len(t, told, maxReasons, "a server that makes them up")
	o = Outage{}
	assert.True(t, o.News(ReasonFor(io.EOF)), "the next outage")
	o = Outage{}
	assert.True(t, o.News("LOADING"))
	assert.False(t, o.News(ReasonFor(io.EOF)), "the network, after somebody has answered")
}
