// Package bench compares the library with what a programmer would write or take in
// its place, and with what the databases and Redis can do at most. All ways of a
// comparison take turns on one private server. One command runs everything, and
// writes docs/benchmarks.md with its pictures:
//
//	TRACBUS_BENCH=../docs go test -count=1 -timeout 4h ./bench
//
// That takes some half an hour. A comparison that fails is said to have, and loses no
// other one. Without the variable each way runs for a moment, so that it is known to work. A
// word in TRACBUS_BENCH_ONLY picks the comparisons that have it in their titles; the
// sections of others stay as they were.
package bench
