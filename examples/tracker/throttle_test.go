package main

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// Waits grow with each attempt, up to a bound, and are forgotten.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIns()
		fail := func() (waited time.Duration) {
			for {
				wait := s.begin("ann", "192.0.2.1")
				if wait == 0 {
					return waited
				}
				waited += wait
				time.Sleep(wait) // in the bubble's time
			}
		}
		var waits []time.Duration
		for range 14 {
			waits = append(waits, fail().Round(time.Second)/time.Second)
		}
		assert.Equal(t, []time.Duration{0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30}, waits)
		assert.Zero(t, s.begin("ann", "192.0.2.99"), "the name's owner does not wait")
		assert.Zero(t, s.begin("bob", "192.0.2.1"), "another name")
		time.Sleep(time.Minute)
		s.succeed("ann", "192.0.2.9")
		for range 5 {
			assert.Zero(t, s.begin("ann", "192.0.2.9"), "whoever signed in begins anew")
		}
		time.Sleep(throttleCalm + time.Second)
		assert.Zero(t, fail())
	})
	synctest.Test(t, func(t *testing.T) { // many names from one address
		s := newSignIns()
		waits := 0
		for i := range 60 {
			if s.begin(fmt.Sprint("name ", i), "192.0.2.1") > 0 {
				waits++
			}
		}
		assert.Equal(t, 39, waits, "of 60 at once, 20 are free, and one begins the wait")
		for range 30 { // good ones do not take back the others
			s.succeed("own", "192.0.2.1")
			s.begin("own", "192.0.2.1")
		}
		time.Sleep(10 * time.Minute)
		s.begin("x", "192.0.2.1")
		assert.Positive(t, s.begin("y", "192.0.2.1"))
	})
	synctest.Test(t, func(t *testing.T) { // one name from many addresses
		s := newSignIns()
		for i := range 101 {
			assert.Zero(t, s.begin("ann", fmt.Sprint("address ", i)))
		}
		assert.Positive(t, s.begin("ann", "another"))
		assert.Zero(t, s.begin("", "another"), "a new account")
		time.Sleep(time.Minute)
		assert.Zero(t, s.begin("ann", "another"))
		s.succeed("ann", "another")
		assert.Zero(t, s.begin("ann", "address 1"))
		assert.Positive(t, s.begin("ann", "another"), "a good one does not take back those of others")
	})
	synctest.Test(t, func(t *testing.T) { // a flood of names and addresses
		s := newSignIns()
		for range 6 {
			s.begin("ann", "192.0.2.1")
		}
		for i := range 4 * throttlePlaces {
			s.begin(fmt.Sprint("name ", i), fmt.Sprint("address ", i))
		}
		assert.Len(t, s.names.table, throttlePlaces, "takes no memory")
		assert.Positive(t, s.begin("ann", "192.0.2.1"), "and has nobody forgotten")
	})
}

// An attempt is as much work whether the name has an account or not, and after some of
// them there is none: then even the password would not do, and the answer says until when.
func TestSignInIsThrottled(t *testing.T) {
	s, p := newInside(t, settings{})
	var compared atomic.Int64
	var costs []int
	s.compare = func(hash, _ []byte) error {
		compared.Add(1)
		cost, err := bcrypt.Cost(hash)
		assert.NoError(t, err)
		costs = append(costs, cost)
		return bcrypt.ErrMismatchedHashAndPassword
	}
	s.signIns.pairs.first, s.signIns.pairs.most = time.Hour, time.Hour
	c := newClient(t, p)
	c.signIn("ann")
	c.send("/", "/account", "do", "sign out")
	for range 30 { // none of which guesses a password, and those too short count nowhere
		a := c.send("/account", "/account", "name", "ann", "password", "short", "do", "make")
		assert.Contains(t, a.problem(), "expected 8 to 72 bytes")
	}
	for range 7 {
		a := c.send("/account", "/account", "name", "ann", "password", "long enough", "do", "make")
		assert.Contains(t, a.problem(), "is taken")
	}
	s.signIns.addresses.free = 1 << 30
	try := func(name, password string) answer {
		return c.send("/account", "/account", "name", name, "password", password, "do", "sign in")
	}
	for _, name := range []string{"ann", "nobody here"} {
		compared.Store(0)
		for range 6 {
			a := try(name, "wrong")
			assert.Equal(t, http.StatusForbidden, a.status)
			assert.Equal(t, "Name and password do not belong together.", a.problem())
		}
		assert.EqualValues(t, 6, compared.Load(), name)
		a := try(name, "the password of ann")
		assert.Equal(t, http.StatusTooManyRequests, a.status)
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		require.NoError(t, err)
		assert.Contains(t, a.problem(), fmt.Sprintf("Try again in %d seconds", seconds))
		assert.NotContains(t, a.body, "the password of ann")
		assert.EqualValues(t, 6, compared.Load(), "it is not looked at")
	}
	for _, cost := range costs {
		assert.Equal(t, passwordCost, cost)
	}
	other := newClient(t, p)
	other.signIn("bob")
}

// Whoever has pages rendered, or passwords guessed, does not keep the other from working.
func TestSignInHasSlotsOfItsOwn(t *testing.T) {
	s, p := newInside(t, settings{})
	c := newClient(t, p)
	c.signIn("ann")
	for range cap(s.rendering) {
		s.rendering <- struct{}{}
	}
	a := newClient(t, p).send("/account", "/account", "name", "ann", "password", "the password of ann", "do", "sign in")
	assert.Equal(t, "/", a.path, "%s", a.problem())
	for range cap(s.rendering) {
		<-s.rendering
	}
	for range cap(s.signing) {
		s.signing <- struct{}{}
	}
	assert.Equal(t, 200, c.get("/wiki/WikiStart").status)
	for range cap(s.signing) {
		<-s.signing
	}
}
