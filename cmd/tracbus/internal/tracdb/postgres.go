package tracdb

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tracbus/tracbus"
)

// libpq are the parameters of PostgreSQL's own library that are handed on, although
// Trac passes over them: whoever writes sslmode=verify-full means it.
var libpq = []string{"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name"}

// postgresDatabase does as Trac's postgres_backend.py. What the string does not say is
// found where PostgreSQL's own library looks: PGHOST, PGPASSWORD, ~/.pgpass and so on,
// and without a host a unix socket.
func postgresDatabase(u uri) (*Database, error) {
	d := &Database{Dialect: tracbus.PostgreSQL}
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	if u.port > 0 {
		set("port", strconv.Itoa(u.port))
	}
	set("host", u.host)
	set("dbname", strings.TrimPrefix(u.path, "/"))
	set("user", u.user)
	for _, p := range u.params {
		switch {
		case p.name == "schema":
			d.Schema = p.value
		case p.name == "host":
			set("host", p.value)
		case slices.Contains(libpq, p.name):
			set(p.name, p.value)
		default:
			d.passOver(p.name)
		}
	}
	if d.Schema == "public" { // as Trac, which then leaves the search path alone
		d.Schema = ""
	}
	encoded := strings.ReplaceAll(query.Encode(), "+", "%20") // to pgx as to libpq, a plus is a plus
	config, err := pgx.ParseConfig("postgres:///?" + encoded)
	if err != nil {
		return nil, wrong("%w", withoutString(err))
	}
	if u.password != (tracbus.Secret{}) {
		config.Password = u.password.Reveal()
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tracbus"
	}
	if d.Schema != "" {
		config.RuntimeParams["search_path"] = `"` + strings.ReplaceAll(d.Schema, `"`, `""`) + `"`
	}
	host, socket := config.Host, ""
	if strings.HasPrefix(host, "/") {
		host, socket = "", host
	}
	d.Name = name("PostgreSQL", cmp.Or(config.Database, config.User), host, int(config.Port), socket)
	d.pgx = config
	return d, nil
}

// withoutString takes the connection string off an error of pgx, which quotes it. The
// string has no password, and no backtick, because it is a URL.
func withoutString(err error) error {
	if _, what, found := strings.Cut(err.Error(), "`: "); found {
		return errors.New(what)
	}
	return errors.New("not understood by the driver")
}

func address(host string, port int) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
