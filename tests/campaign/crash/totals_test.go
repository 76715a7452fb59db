package crash_test

import "fmt"

// totals counts what was done, and what was found.
type totals struct {
	rounds, kills, stops, cuts, redisRestarts, redisPauses, databaseRestarts, restores int
	databaseStops, holes, sessionKills, clockSteps, fullDisks, wrong                   int
	transactions, changes, lost, twice, late, repeated                                 int
}

func (n *totals) add(m totals) {
	n.rounds += m.rounds
	n.kills += m.kills
	n.stops += m.stops
	n.cuts += m.cuts
	n.redisRestarts += m.redisRestarts
	n.redisPauses += m.redisPauses
	n.databaseRestarts += m.databaseRestarts
	n.restores += m.restores
	n.databaseStops += m.databaseStops
	n.holes += m.holes
	n.sessionKills += m.sessionKills
	n.clockSteps += m.clockSteps
	n.fullDisks += m.fullDisks
	n.wrong += m.wrong
	n.transactions += m.transactions
	n.changes += m.changes
	n.lost += m.lost
	n.twice += m.twice
	n.late += m.late
	n.repeated += m.repeated
}

func (n totals) String() string {
	return fmt.Sprintf("%d rounds, %d kills, %d stops, %d cuts, %d redis restarts, %d redis pauses, %d database restarts, %d restores, "+
		"%d database stops, %d black holes, %d KILLs, %d clock steps, %d full disks; "+
		"%d transactions, %d changes: %d lost, %d duplicated, %d reordered, %d wrong outcomes, %d repeated because Redis lost its memory",
		n.rounds, n.kills, n.stops, n.cuts, n.redisRestarts, n.redisPauses, n.databaseRestarts, n.restores,
		n.databaseStops, n.holes, n.sessionKills, n.clockSteps, n.fullDisks,
		n.transactions, n.changes, n.lost, n.twice, n.late, n.wrong, n.repeated)
}
