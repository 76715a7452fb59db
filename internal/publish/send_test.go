package publish

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestSpanGoesOn(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 6, 2)
		wantMismatch(t, r.send(0, 3, events[:6]), consumer.Offset{Empty: true, Generation: -1})
		r.mustReset(0)
		require.NoError(t, r.send(0, 3, events[:6]))
		require.NoError(t, r.send(3, 6, events[6:]))
		assert.Equal(t, names, r.heard())
		if r.publisher.script.config.StreamKey != "" {
			assert.Equal(t, names, r.entries())
		}
		s := r.publisher.Stats()
		assert.Equal(t, uint64(12), s.Published)
		assert.Zero(t, s.NoReceivers)
		assert.Equal(t, int64(-1), int64(r.client.TTL(r.ctx(), r.state).Val()), "the state never expires")
	})
}

// A repetition, and a process that is late, publish nothing twice.
func TestSpanTakesNothingTwice(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 9, 1)
		r.mustReset(0)
		require.NoError(t, r.send(0, 3, events[:3]))
		require.NoError(t, r.send(0, 3, events[:3]), "its answer was lost")
		require.NoError(t, r.send(0, 5, events[:5]), "cut otherwise")
		require.NoError(t, r.send(5, 9, events[5:]))
		wantMismatch(t, r.send(0, 3, events[:3]), consumer.Offset{At: at(9)})
		assert.Equal(t, names, r.heard())
	})
}

// Without messages the place moves: what is not wanted leaves no hole.
func TestSpanMovesOverWhatIsNotPublished(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		unwanted := func(tid int64) event { return event{tx: at(tid), unwanted: true} }
		events, _ := transactions(3, 3, 1)
		r.mustReset(0)
		require.NoError(t, r.send(0, 2, []event{unwanted(1), unwanted(2)}))
		assert.Equal(t, "2", r.offset()["tid"])
		require.NoError(t, r.send(2, 7, []event{events[0], unwanted(4)}))
		require.NoError(t, r.send(2, 7, []event{events[0], unwanted(4)}), "its answer was lost")
		require.NoError(t, r.send(7, 9, nil))
		assert.Equal(t, "9", r.offset()["tid"])
		assert.Equal(t, at(9).CommitID, r.offset()["mark"])
		assert.Equal(t, []string{"3-0"}, r.heard())
	})
}

// A long batch is several calls, cut between transactions where they fit.
func TestSpanCutsLongBatches(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		scripts := &scriptCounter{}
		scripts.count(r.tap)
		events, names := transactions(1, 10, 100)
		huge, more := transactions(11, 11, 1000)
		r.mustReset(0)
		scripts.calls = nil
		require.NoError(t, r.send(0, 11, append(events, huge...)))
		assert.Equal(t, append(names, more...), r.heard())
		assert.Equal(t, []int{200, 200, 200, 200, 256, 256, 256, 256, 176}, scripts.calls)
		assert.Equal(t, "11", r.offset()["tid"])
		assert.Empty(t, r.offset()["next"])
	})
}

// After a call within a transaction that Redis has forgotten again, its
// beginning comes again before its rest.
func TestSpanWhenAFailoverTakesBackTheBeginningOfATransaction(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 1, 600)
		r.mustReset(0)
		(&scriptCounter{before: func(call int) {
			if call == 2 { // the replica that takes over did not have the first
				require.NoError(t, r.client.HSet(r.ctx(), r.state, "next_tid", "", "next", "", "seq", "", "entry", "0-0").Err())
				require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
			}
		}}).count(r.tap)
		require.NoError(t, r.send(0, 1, events))
		assert.Equal(t, append(names[:256:256], names...), r.heard())
		assert.Equal(t, "1", r.offset()["tid"])
	})
}

func TestSpanSurvivesScriptFlush(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 3, 1)
		r.mustReset(0)
		for i, e := range events {
			require.NoError(t, r.client.ScriptFlush(r.ctx()).Err())
			require.NoError(t, r.send(int64(i), int64(i+1), []event{e}))
		}
		assert.Equal(t, names, r.heard())
	})
}

// An emptied Redis, and one put back to an older state, are at another offset.
func TestSpanWhenRedisForgets(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 6, 1)
		r.mustReset(0)
		require.NoError(t, r.send(0, 2, events[:2]))
		old := r.offset()
		require.NoError(t, r.send(2, 4, events[2:4]))
		require.NoError(t, r.client.HSet(r.ctx(), r.state, old).Err())
		if r.publisher.script.config.StreamKey != "" {
			require.NoError(t, r.client.Do(r.ctx(), "del", "changes").Err())
		}
		wantMismatch(t, r.send(4, 6, events[4:]), consumer.Offset{At: at(2)})
		require.NoError(t, r.send(2, 6, events[2:]))
		assert.Equal(t, append(names[:4:4], names[2:]...), r.heard())
		require.NoError(t, r.client.FlushAll(r.ctx()).Err())
		wantMismatch(t, r.send(6, 7, nil), consumer.Offset{Empty: true, Generation: -1})
	})
}

// Only one of two who find Redis at another offset resets it, and a repetition finds
// what the first try began.
func TestSpanIsResetOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(5, 6, 1)
		empty := consumer.Offset{Empty: true, Generation: -1}
		require.NoError(t, r.reset(4, 0, empty))
		require.NoError(t, r.reset(4, 0, empty), "its answer was lost")
		wantMismatch(t, r.reset(3, 1, empty), consumer.Offset{At: at(4)})
		wantMismatch(t, r.reset(9, 1, consumer.Offset{At: store.Place{TID: 4, CommitID: "another"}}), consumer.Offset{At: at(4)})
		require.NoError(t, r.send(4, 5, events[:1]))

		require.NoError(t, r.reset(5, 7, consumer.Offset{At: at(5)}), "at the same place, as a new branch")
		assert.Equal(t, "7", r.offset()["branch"])
		wantMismatch(t, r.reset(3, 8, consumer.Offset{At: at(5), Generation: 0}), consumer.Offset{At: at(5), Generation: 7})
		c := r.span(5, 6)
		c.Reset = &consumer.Reset{Expect: consumer.Offset{At: at(5), Generation: 7}, Generation: 8}
		require.NoError(t, r.publisher.Send(r.ctx(), c, events[1:]), "with a batch")
		require.NoError(t, r.publisher.Send(r.ctx(), c, events[1:]))
		assert.Equal(t, "8", r.offset()["branch"])
		assert.Equal(t, names, r.heard())
	})
}

// A history that went back is seen also where Redis stands within a transaction
// of it.
func TestSpanStandsWithinATransactionThatIsGone(t *testing.T) {
	r := newSendRig(t, Config{}, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed.2-0"},
	}}, &redis.Options{Username: "narrow", Password: "x"})
	events, _ := transactions(2, 2, 2)
	r.mustReset(1)
	assert.Error(t, r.send(1, 2, events))
	for _, tid := range []int64{1, 2} {
		other := store.Place{TID: tid, CommitID: "other"}
		c := r.span(1, 0)
		c.To = other
		gone := []event{eventAt(other, 0)}
		wantMismatch(t, r.publisher.Send(r.ctx(), c, gone), consumer.Offset{At: at(2)})
	}
	require.NoError(t, r.reset(1, 1, consumer.Offset{At: at(2)}))
}

// The same where the journal has nothing new for a while, and where of the
// transaction only an entry is there, whose message was refused.
func TestSpanRemembersWhatItBegan(t *testing.T) {
	for name, config := range configs {
		for _, allowed := range []string{"2-0", "none"} {
			if allowed == "none" && config.StreamKey == "" {
				continue // then nothing is begun
			}
			t.Run(name+" "+allowed, func(t *testing.T) {
				r := newSendRig(t, config, testserver.RedisOptions{Users: []testserver.RedisUser{
					{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed." + allowed},
				}}, &redis.Options{Username: "narrow", Password: "x"})
				events, names := transactions(2, 2, 2)
				r.mustReset(1)
				require.Error(t, r.send(1, 2, events))
				require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "narrow", "allchannels").Err())
				require.NoError(t, r.send(1, 1, nil))
				other := store.Place{TID: 2, CommitID: "other"}
				c := r.span(1, 0)
				c.To = other
				wantMismatch(t, r.publisher.Send(r.ctx(), c, []event{eventAt(other, 0)}), consumer.Offset{At: at(2)})
				require.NoError(t, r.send(1, 2, events))
				assert.Equal(t, names, r.heard())
				if config.StreamKey != "" {
					assert.Equal(t, names, r.entries())
				}
			})
		}
	}
}
