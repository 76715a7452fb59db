package testserver

import (
	"net"
	"strings"
	"testing"
)

func TestMariaDBAddresses(t *testing.T) {
	t.Parallel()
	s := MariaDB(t, MariaDBOptions{})
	if got, want := s.DSN("trac"), "root@tcp("+s.Addr()+")/trac"; got != want {
		t.Errorf("address of a database\n got %s\nwant %s", got, want)
	}
	if got, want := s.DSNVia("127.0.0.1:1", "trac"), "root@tcp(127.0.0.1:1)/trac"; got != want {
		t.Errorf("address through a proxy\n got %s\nwant %s", got, want)
	}
	conn, err := net.Dial("tcp", Proxy(t, s.Addr()).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := make([]byte, 5) // a length of three bytes, a number, and the protocol
	if _, err := conn.Read(hello); err != nil || hello[4] != 10 {
		t.Errorf("greeting through a proxy\n got %v, %v\nwant protocol 10", hello, err)
	}
}

func TestMariaDBSettings(t *testing.T) {
	const common = " utf8mb4_bin 127.0.0.1 0"
	for _, tc := range []struct {
		name    string
		options MariaDBOptions
		want    string
	}{
		{"by default", MariaDBOptions{}, "2 300" + common},
		{"durable", MariaDBOptions{Durable: true}, "1 300" + common},
		{"with arguments", MariaDBOptions{Args: []string{"--max-connections=20", "--innodb-flush-log-at-trx-commit=0"}}, "0 20" + common},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("TZ", "Asia/Tokyo")
			s := MariaDB(t, tc.options)
			out, err := s.mariadb("mysql", "SELECT concat_ws(' ', @@innodb_flush_log_at_trx_commit, @@max_connections,"+
				" @@collation_server, @@bind_address, timestampdiff(hour, utc_timestamp(), now()))").CombinedOutput()
			if got := strings.TrimSpace(string(out)); got != tc.want || err != nil {
				t.Errorf("settings\n got %s, %v\nwant %s, nil", got, err, tc.want)
			}
		})
	}
}
