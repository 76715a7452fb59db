package tracbus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestChainGoesOn(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 6, 2)
		wantElsewhere(t, r.hand(0, 3, events[:6]), consumer.Offset{Empty: true, Generation: -1})
		r.mustBegin(0)
		require.NoError(t, r.hand(0, 3, events[:6]))
		require.NoError(t, r.hand(3, 6, events[6:]))
		assert.Equal(t, names, r.heard())
		if r.publisher.codec.config.StreamKey != "" {
			assert.Equal(t, names, r.entries())
		}
		s := r.publisher.Stats()
		assert.Equal(t, uint64(12), s.Published)
		assert.Zero(t, s.NoReceivers)
		assert.Equal(t, int64(-1), int64(r.client.TTL(r.ctx(), r.state).Val()), "the state never expires")
	})
}

// A repetition, and a process that is late, publish nothing twice.
func TestChainTakesNothingTwice(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 9, 1)
		r.mustBegin(0)
		require.NoError(t, r.hand(0, 3, events[:3]))
		require.NoError(t, r.hand(0, 3, events[:3]), "its answer was lost")
		require.NoError(t, r.hand(0, 5, events[:5]), "cut otherwise")
		require.NoError(t, r.hand(5, 9, events[5:]))
		wantElsewhere(t, r.hand(0, 3, events[:3]), consumer.Offset{At: at(9)})
		assert.Equal(t, names, r.heard())
	})
}

// Without messages the place moves: what is not wanted leaves no hole.
func TestChainMovesOverWhatIsNotPublished(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		unwanted := func(tid int64) Event {
			return TicketCommentEdited{Change: Change{Env: "test", TID: tid, CommitID: at(tid).CommitID}, ID: 1}
		}
		events, _ := transactions(3, 3, 1)
		r.mustBegin(0)
		require.NoError(t, r.hand(0, 2, []Event{unwanted(1), unwanted(2)}))
		assert.Equal(t, "2", r.stands()["tid"])
		require.NoError(t, r.hand(2, 7, []Event{events[0], unwanted(4)}))
		require.NoError(t, r.hand(2, 7, []Event{events[0], unwanted(4)}), "its answer was lost")
		require.NoError(t, r.hand(7, 9, nil))
		assert.Equal(t, "9", r.stands()["tid"])
		assert.Equal(t, at(9).CommitID, r.stands()["mark"])
		assert.Equal(t, []string{"3-0"}, r.heard())
	})
}

// A long batch is several calls, cut between transactions where they fit.
func TestChainCutsLongBatches(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		scripts := &scriptCounter{}
		r.own.AddHook(scripts)
		events, names := transactions(1, 10, 100)
		huge, more := transactions(11, 11, 1000)
		r.mustBegin(0)
		scripts.calls = nil
		require.NoError(t, r.hand(0, 11, append(events, huge...)))
		assert.Equal(t, append(names, more...), r.heard())
		assert.Equal(t, []int{200, 200, 200, 200, 256, 256, 256, 256, 176}, scripts.calls)
		assert.Equal(t, "11", r.stands()["tid"])
		assert.Empty(t, r.stands()["next"])
	})
}

// After a call within a transaction that Redis has forgotten again, its
// beginning comes again before its rest.
func TestChainWhenAFailoverTakesBackTheBeginningOfATransaction(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 1, 600)
		r.mustBegin(0)
		r.own.AddHook(&scriptCounter{before: func(call int) {
			if call == 2 { // the replica that takes over did not have the first
				require.NoError(t, r.client.HSet(r.ctx(), r.state, "next_tid", "", "next", "", "seq", "", "entry", "0-0").Err())
				require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
			}
		}})
		require.NoError(t, r.hand(0, 1, events))
		assert.Equal(t, append(names[:256:256], names...), r.heard())
		assert.Equal(t, "1", r.stands()["tid"])
	})
}

// What was done before a refusal is remembered, and the repetition goes on
// exactly there.
func TestChainStopsAtAForbiddenChannel(t *testing.T) {
	for name, config := range chainConfigs {
		t.Run(name, func(t *testing.T) {
			r := newChainRig(t, config, testserver.RedisOptions{Users: []testserver.RedisUser{
				{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed.1-* &trac.test.ticket.changed.2-0 &trac.test.ticket.changed.2-1"},
			}}, &redis.Options{Username: "narrow", Password: "x"})
			events, names := transactions(1, 4, 3)
			r.mustBegin(0)
			for range 3 {
				err := r.hand(0, 4, events)
				assert.ErrorContains(t, err, "publish: tid 2, seq 2 on trac.test.ticket.changed.2-2: ")
				assert.Equal(t, "1", r.stands()["tid"])
				assert.Equal(t, at(2).CommitID, r.stands()["next"])
				assert.Equal(t, "1", r.stands()["seq"])
			}
			assert.Equal(t, names[:5], r.heard())
			require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "narrow", "allchannels").Err())
			require.NoError(t, r.hand(1, 4, events[3:]), "read again from where Redis stands")
			assert.Equal(t, names[5:], r.heard())
			if config.StreamKey != "" {
				assert.Equal(t, names, r.entries())
			}
			assert.Equal(t, uint64(12), r.publisher.Stats().Published)
		})
	}
}

// Redis without memory refuses the call before it published anything.
func TestChainWhenRedisIsOutOfMemory(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 3, 1)
		r.mustBegin(0)
		require.NoError(t, r.hand(0, 1, events[:1]))
		require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "1").Err())
		for range 2 {
			assert.ErrorContains(t, r.hand(1, 3, events[1:]), "OOM")
		}
		assert.Equal(t, names[:1], r.heard())
		require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "0").Err())
		require.NoError(t, r.hand(1, 3, events[1:]))
		assert.Equal(t, names[1:], r.heard())
		assert.False(t, r.publisher.Stats().Disconnected)
	})
}

// A replica refuses it likewise, although it would publish.
func TestChainOnAReadOnlyReplica(t *testing.T) {
	r := newChainRig(t, PublisherConfig{}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 1, 1)
	r.mustBegin(0)
	require.NoError(t, r.client.Do(r.ctx(), "replicaof", "127.0.0.1", "1").Err())
	assert.ErrorContains(t, r.hand(0, 1, events), "READONLY")
	require.NoError(t, r.client.Do(r.ctx(), "replicaof", "no", "one").Err())
	assert.Empty(t, r.heard())
	require.NoError(t, r.hand(0, 1, events))
	assert.Equal(t, names, r.heard())
}

// Somebody else's keys of another type are errors, not places.
func TestChainWhenAKeyIsOfAnotherType(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 2, 1)
	require.NoError(t, r.client.Set(r.ctx(), r.state, "x", 0).Err())
	assert.ErrorContains(t, r.hand(0, 1, events[:1]), "WRONGTYPE")
	require.NoError(t, r.client.Del(r.ctx(), r.state).Err())
	r.mustBegin(0)
	require.NoError(t, r.client.Set(r.ctx(), "changes", "x", 0).Err())
	assert.ErrorContains(t, r.hand(0, 2, events), "WRONGTYPE")
	assert.Empty(t, r.heard())
	require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
	require.NoError(t, r.hand(0, 2, events))
	assert.Equal(t, names, r.heard())
	assert.Equal(t, names, r.entries())
}

func TestChainSurvivesScriptFlush(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 3, 1)
		r.mustBegin(0)
		for i, e := range events {
			require.NoError(t, r.client.ScriptFlush(r.ctx()).Err())
			require.NoError(t, r.hand(int64(i), int64(i+1), []Event{e}))
		}
		assert.Equal(t, names, r.heard())
	})
}

// An emptied Redis, and one put back to an older state, stand elsewhere.
func TestChainWhenRedisForgets(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 6, 1)
		r.mustBegin(0)
		require.NoError(t, r.hand(0, 2, events[:2]))
		old := r.stands()
		require.NoError(t, r.hand(2, 4, events[2:4]))
		require.NoError(t, r.client.HSet(r.ctx(), r.state, old).Err())
		if r.publisher.codec.config.StreamKey != "" {
			require.NoError(t, r.client.Do(r.ctx(), "del", "changes").Err())
		}
		wantElsewhere(t, r.hand(4, 6, events[4:]), consumer.Offset{At: at(2)})
		require.NoError(t, r.hand(2, 6, events[2:]))
		assert.Equal(t, append(names[:4:4], names[2:]...), r.heard())
		require.NoError(t, r.client.FlushAll(r.ctx()).Err())
		wantElsewhere(t, r.hand(6, 7, nil), consumer.Offset{Empty: true, Generation: -1})
	})
}

// Only one of two who find Redis elsewhere begins anew, and a repetition finds
// what the first try began.
func TestChainBeginsAnewOnce(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(5, 6, 1)
		empty := consumer.Offset{Empty: true, Generation: -1}
		require.NoError(t, r.begin(4, 0, empty))
		require.NoError(t, r.begin(4, 0, empty), "its answer was lost")
		wantElsewhere(t, r.begin(3, 1, empty), consumer.Offset{At: at(4)})
		wantElsewhere(t, r.begin(9, 1, consumer.Offset{At: store.Place{TID: 4, CommitID: "another"}}), consumer.Offset{At: at(4)})
		require.NoError(t, r.hand(4, 5, events[:1]))

		require.NoError(t, r.begin(5, 7, consumer.Offset{At: at(5)}), "at the same place, as a new branch")
		assert.Equal(t, "7", r.stands()["branch"])
		wantElsewhere(t, r.begin(3, 8, consumer.Offset{At: at(5), Generation: 0}), consumer.Offset{At: at(5), Generation: 7})
		c := r.chain(5, 6)
		c.Reset = &consumer.Reset{Expect: consumer.Offset{At: at(5), Generation: 7}, Generation: 8}
		require.NoError(t, r.publisher.handleChained(r.ctx(), c, events[1:]), "with a batch")
		require.NoError(t, r.publisher.handleChained(r.ctx(), c, events[1:]))
		assert.Equal(t, "8", r.stands()["branch"])
		assert.Equal(t, names, r.heard())
	})
}

// A history that went back is seen also where Redis stands within a transaction
// of it.
func TestChainStandsWithinATransactionThatIsGone(t *testing.T) {
	r := newChainRig(t, PublisherConfig{}, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed.2-0"},
	}}, &redis.Options{Username: "narrow", Password: "x"})
	events, _ := transactions(2, 2, 2)
	r.mustBegin(1)
	assert.Error(t, r.hand(1, 2, events))
	for _, tid := range []int64{1, 2} {
		other := store.Place{TID: tid, CommitID: "other"}
		c := r.chain(1, 0)
		c.To = other
		gone := []Event{chainedEvent(other, 0)}
		wantElsewhere(t, r.publisher.handleChained(r.ctx(), c, gone), consumer.Offset{At: at(2)})
	}
	require.NoError(t, r.begin(1, 1, consumer.Offset{At: at(2)}))
}

// The same where the journal has nothing new for a while, and where of the
// transaction only an entry is there, whose message was refused.
func TestChainRemembersWhatItBegan(t *testing.T) {
	for name, config := range chainConfigs {
		for _, allowed := range []string{"2-0", "none"} {
			if allowed == "none" && config.StreamKey == "" {
				continue // then nothing is begun
			}
			t.Run(name+" "+allowed, func(t *testing.T) {
				r := newChainRig(t, config, testserver.RedisOptions{Users: []testserver.RedisUser{
					{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed." + allowed},
				}}, &redis.Options{Username: "narrow", Password: "x"})
				events, names := transactions(2, 2, 2)
				r.mustBegin(1)
				require.Error(t, r.hand(1, 2, events))
				require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "narrow", "allchannels").Err())
				require.NoError(t, r.hand(1, 1, nil))
				other := store.Place{TID: 2, CommitID: "other"}
				c := r.chain(1, 0)
				c.To = other
				wantElsewhere(t, r.publisher.handleChained(r.ctx(), c, []Event{chainedEvent(other, 0)}), consumer.Offset{At: at(2)})
				require.NoError(t, r.hand(1, 2, events))
				assert.Equal(t, names, r.heard())
				if config.StreamKey != "" {
					assert.Equal(t, names, r.entries())
				}
			})
		}
	}
}

// An event that cannot be encoded blocks, and what is before it goes out.
func TestChainBlocksAtWhatCannotBeEncoded(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		events, names := transactions(1, 3, 2)
		bad := events[3].(chainEvent)
		bad.fails = errors.New("no such thing")
		good := events[3]
		events[3] = bad
		r.mustBegin(0)
		for range 2 {
			assert.EqualError(t, r.hand(0, 3, events), "publish: tid 2, seq 1 on trac.test.ticket.changed.2-1: no such thing")
		}
		assert.Equal(t, names[:3], r.heard())
		assert.Zero(t, r.publisher.Stats().Rejected)
		events[3] = good
		require.NoError(t, r.hand(0, 3, events))
		assert.Equal(t, names[3:], r.heard())
	})
}

// Redis hangs up on what is too long for it: that is said, and what is before
// it goes out.
func TestChainBlocksAtWhatIsTooLong(t *testing.T) {
	eachChain(t, func(t *testing.T, r *chainRig) {
		require.NoError(t, r.client.ConfigSet(r.ctx(), "proto-max-bulk-len", "1mb").Err())
		events, names := transactions(1, 3, 1)
		long := events[1].(chainEvent)
		long.payload = fmt.Sprintf(`{"a":"%01500000d"}`, 0)
		events[1] = long
		r.mustBegin(0)
		for range 2 {
			assert.ErrorContains(t, r.hand(0, 3, events), "publish: tid 2, seq 0 on trac.test.ticket.changed.2-0: a message of 15000")
			assert.Equal(t, "1", r.stands()["tid"])
		}
		require.NoError(t, r.client.ConfigSet(r.ctx(), "proto-max-bulk-len", "512mb").Err())
		require.NoError(t, r.hand(0, 3, events))
		assert.Equal(t, names, r.heard())
	})
}

// One try, within the context or the client's timeouts, whichever ends first.
func TestChainTriesOnceWithinItsTime(t *testing.T) {
	for name, tc := range map[string]struct {
		o    redis.Options
		ctx  time.Duration
		most time.Duration
	}{
		"the client's":  {redis.Options{ReadTimeout: 100 * time.Millisecond, WriteTimeout: 100 * time.Millisecond}, time.Minute, 5 * time.Second},
		"the context's": {redis.Options{ReadTimeout: -1, WriteTimeout: -1}, 100 * time.Millisecond, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := newChainRig(t, PublisherConfig{}, testserver.RedisOptions{}, &tc.o)
			events, names := transactions(1, 1, 1)
			r.mustBegin(0)
			dials := &scriptCounter{} // a second try would need another connection
			r.server.Stop()
			r.own.AddHook(dials)
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), tc.ctx)
			defer cancel()
			err := r.publisher.handleChained(ctx, r.chain(0, 1), events)
			require.Error(t, err)
			assert.Less(t, time.Since(began), tc.most)
			assert.Zero(t, dials.dials.Load())
			assert.True(t, r.publisher.Stats().Disconnected)
			r.server.Continue()
			require.NoError(t, r.hand(0, 1, events))
			assert.Equal(t, names, r.heard())
			assert.False(t, r.publisher.Stats().Disconnected)
		})
	}
}

// Wherever a connection breaks, the repetition publishes what is missing only.
func TestChainWhenConnectionsAreCutAtAnyByte(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	proxy := testserver.Proxy(t, r.server.Addr())
	r.publisher = NewPublisher(r.connect(&redis.Options{Addr: proxy.Addr(), PoolSize: 1}), *r.publisher.codec.config)
	r.mustBegin(0)
	var all []string
	var tid int64
	for cut := int64(1); cut < 2000; cut += 61 {
		events, names := transactions(tid+1, tid+3, 2)
		proxy.CutAfter(cut)
		for try := 0; ; try++ {
			require.Less(t, try, 20)
			if err := r.hand(tid, tid+3, events); err == nil {
				break
			}
		}
		tid += 3
		all = append(all, names...)
	}
	assert.Equal(t, all, r.heard())
	assert.Equal(t, all, r.entries())
}
