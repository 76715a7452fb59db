// Package redis_test uses Redis as people run it, and has each of its errors happen.
package redis_test

import "os"

// longEnv names the variable that asks for every case, instead of the most telling
// ones of each kind.
const longEnv = "TRACBUS_REDIS_LONG"

func long() bool { return os.Getenv(longEnv) != "" }
