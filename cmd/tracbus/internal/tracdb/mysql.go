package tracdb

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/redisconn/setting"
)

// mysqlDatabase does as Trac's mysql_backend.py, and PyMySQL which it calls. The
// character set is always utf8mb4, which the library needs.
func mysqlDatabase(u uri) (*Database, error) {
	d := &Database{Dialect: tracbus.MySQL}
	var compress bool
	for _, p := range u.params {
		switch p.name {
		case "charset", "unix_socket", "read_default_file", "read_default_group": // read below, or not needed
		case "init_command":
			d.init = p.value
		case "compress":
			compress = number(p.value) != 0
		case "named_pipe":
			if number(p.value) != 0 {
				return nil, wrong("named_pipe is for Windows alone: want a host, or unix_socket=PATH")
			}
		default:
			d.passOver(p.name)
		}
	}
	file, err := optionFileOf(u)
	if err != nil {
		return nil, err
	}
	host := cmp.Or(u.host, file["host"], "localhost")
	config := mysql.NewConfig()
	config.User = cmp.Or(u.user, file["user"], login())
	config.Passwd = cmp.Or(u.password.Reveal(), file["password"])
	config.DBName = cmp.Or(strings.TrimPrefix(u.path, "/"), file["database"])
	config.Net, config.Addr = "tcp", address(host, cmp.Or(u.port, 3306)) // not the file's port: Trac always gives one
	socket := cmp.Or(u.param("unix_socket"), file["socket"])
	if socket != "" {
		config.Net, config.Addr = "unix", socket
	}
	config.MultiStatements, config.InterpolateParams = true, true // see docs/databases.md
	config.Timeout = 15 * time.Second
	config.Logger = &mysql.NopLogger{} // what matters is in errors
	if config.TLS, err = tlsOf(file, host, socket != ""); err != nil {
		return nil, err
	}
	if err := config.Apply(mysql.EnableCompression(compress)); err != nil {
		return nil, wrong("compress: %w", err)
	}
	d.Name = name("MySQL", config.DBName, config.Addr, 0, socket)
	if config.DBName == "" {
		return nil, wrong("want the name of a database after the host: mysql://USER:PASSWORD@HOST/DATABASE")
	}
	d.mysql = config
	return d, nil
}

func (d *Database) openMySQL() (*sql.DB, error) {
	connector, err := mysql.NewConnector(d.mysql)
	if err != nil {
		return nil, wrong("not understood by the driver") // err may have any part of it
	}
	if d.init != "" {
		connector = initialized{connector, d.init}
	}
	return sql.OpenDB(connector), nil
}

// number reads one as Trac's as_int does, with 0 for what is none.
func number(s string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s))
	return n
}

// login is the name of who runs this process, by which PyMySQL connects if none is given.
func login() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// initialized runs a statement on each new connection.
type initialized struct {
	driver.Connector
	statement string
}

func (c initialized) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, c.statement, nil); err != nil {
		_ = conn.Close() // the error of the statement says more
		return nil, fmt.Errorf("init_command of the connection string: %w", err)
	}
	return conn, nil
}

// tlsOf returns how a connection is encrypted, by the options ssl-… of an option file.
// As in PyMySQL, the server's certificate is checked if ssl-ca is given.
func tlsOf(file map[string]string, host string, socket bool) (*tls.Config, error) {
	for _, option := range []string{"ssl-capath", "ssl-cipher", "ssl-password"} {
		if file[option] != "" {
			return nil, wrong("read_default_file: the option %s is not supported: want ssl-ca, ssl-cert and ssl-key", option)
		}
	}
	ca, cert, key := file["ssl-ca"], file["ssl-cert"], file["ssl-key"]
	if ca == "" && cert == "" && key == "" || socket {
		return nil, nil
	}
	loaded, bad := setting.LoadTLS(ca, cert, key, host)
	if bad != nil {
		return nil, wrong("read_default_file: its TLS files: want %s", bad.Want)
	}
	loaded.InsecureSkipVerify = ca == ""
	return loaded, nil
}
