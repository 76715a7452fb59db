package main

import (
	"log/slog"
	"net"
	"os"
)

// tellSystemd says how the process is doing to the one who started it, if that asks
// for it (Type=notify; sd_notify(3)).
func tellSystemd(logger *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"}) // Go reads @ as systemd means it
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // what was written is sent
	}
	if err != nil {
		logger.Warn("systemd cannot be told how the relay is doing", "err", err)
	}
}
