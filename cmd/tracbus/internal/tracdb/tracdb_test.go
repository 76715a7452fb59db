package tracdb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// alone keeps a test from what the user has set for databases.
func alone(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") {
			require.NoError(t, os.Unsetenv(name))
			t.Cleanup(func() { _ = os.Setenv(name, value) })
		}
	}
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
}

// The connection strings of Trac's own tests (trac/db/tests/api.py), and others: what
// parse_connection_uri returns for each.
func TestParseAsTracDoes(t *testing.T) {
	secret := tracbus.NewSecret
	for text, want := range map[string]uri{
		"sqlite:db/trac.db":                                  {scheme: "sqlite", path: "db/trac.db"},
		"sqlite:///var/db/trac.db":                           {scheme: "sqlite", path: "/var/db/trac.db"},
		"sqlite:/var/db/trac.db":                             {scheme: "sqlite", path: "/var/db/trac.db"},
		"sqlite:////var/db/trac.db":                          {scheme: "sqlite", path: "//var/db/trac.db"},
		"sqlite:db/trac.db?timeout=10000":                    {scheme: "sqlite", path: "db/trac.db", params: []param{{"timeout", "10000"}}},
		"sqlite::memory:":                                    {scheme: "sqlite", path: ":memory:"},
		"sqlite:db/50%25.db":                                 {scheme: "sqlite", path: "db/50%25.db"}, // a path has no escapes
		"sqlite://host/db":                                   {scheme: "sqlite", host: "host", path: "/db"},
		"postgres://localhost/trac":                          {scheme: "postgres", host: "localhost", path: "/trac"},
		"postgres://localhost":                               {scheme: "postgres", host: "localhost", path: "/"},
		"postgres://localhost:9431/trac":                     {scheme: "postgres", host: "localhost", port: 9431, path: "/trac"},
		"postgres://john:letmein@localhost:9431/trac":        {scheme: "postgres", user: "john", password: secret("letmein"), host: "localhost", port: 9431, path: "/trac"},
		"postgres://john:%3a%40%2f@localhost/trac":           {scheme: "postgres", user: "john", password: secret(":@/"), host: "localhost", path: "/trac"},
		"postgres://j%6fhn:a:b@localhost/trac":               {scheme: "postgres", user: "john", password: secret("a:b"), host: "localhost", path: "/trac"},
		"postgres://john@/trac":                              {scheme: "postgres", user: "john", path: "/trac"},
		"postgres://:letmein@h/trac":                         {scheme: "postgres", password: secret("letmein"), host: "h", path: "/trac"},
		"postgres://john:@h/trac":                            {scheme: "postgres", user: "john", host: "h", path: "/trac"},
		"postgres:///trac?host=/var/run/postgresql":          {scheme: "postgres", path: "/trac", params: []param{{"host", "/var/run/postgresql"}}},
		"postgres:///trac?host=%2Frun%2Fpg&schema=a%20b":     {scheme: "postgres", path: "/trac", params: []param{{"host", "/run/pg"}, {"schema", "a b"}}},
		"postgres:/trac":                                     {scheme: "postgres", path: "/trac"},
		"postgres://h/tr%20ac":                               {scheme: "postgres", host: "h", path: "/tr%20ac"},
		"postgres://h: 5432/trac":                            {scheme: "postgres", host: "h", port: 5432, path: "/trac"},
		"postgres://h:0/trac":                                {scheme: "postgres", host: "h", path: "/trac"},
		"postgres://u:100%@h/trac":                           {scheme: "postgres", user: "u", password: secret("100%"), host: "h", path: "/trac"},
		"postgres://u:%FF@h/trac":                            {scheme: "postgres", user: "u", password: secret("\ufffd"), host: "h", path: "/trac"},
		"mysql://localhost/trac":                             {scheme: "mysql", host: "localhost", path: "/trac"},
		"mysql://john:letmein@localhost:3306/trac":           {scheme: "mysql", user: "john", password: secret("letmein"), host: "localhost", port: 3306, path: "/trac"},
		"mysql://john@h/trac?charset=utf8mb4&compress=1":     {scheme: "mysql", user: "john", host: "h", path: "/trac", params: []param{{"charset", "utf8mb4"}, {"compress", "1"}}},
		"mysql://john@h/trac?unix_socket=/a%26b?c&x==%3d":    {scheme: "mysql", user: "john", host: "h", path: "/trac", params: []param{{"unix_socket", "/a&b?c"}, {"x", "=="}}},
		"mysql://john@h/trac?charset=utf8&charset=utf8mb4":   {scheme: "mysql", user: "john", host: "h", path: "/trac", params: []param{{"charset", "utf8"}, {"charset", "utf8mb4"}}},
		"mysql://john:letmein@db.example.org/trac?a=1&b=&c=": {scheme: "mysql", user: "john", password: secret("letmein"), host: "db.example.org", path: "/trac", params: []param{{"a", "1"}, {"b", ""}, {"c", ""}}},
	} {
		got, err := parse(text)
		require.NoError(t, err, text)
		assert.True(t, want.password.Equal(got.password), "%s: password", text)
		want.password, got.password = tracbus.Secret{}, tracbus.Secret{}
		assert.Equal(t, want, got, text)
	}
}

// What Trac refuses, or cannot work, is refused, with an error that has no part of the
// string but the names of parameters.
func TestBadConnectionStrings(t *testing.T) {
	alone(t)
	for text, want := range map[string]string{
		"":                                 "want one, such as sqlite:db/trac.db",
		"sqlitedb/hunter2":                 "want sqlite:PATH, postgres://",
		"sqlite:":                          "want sqlite:PATH, postgres://",
		"postgres:hunter2":                 "want sqlite:PATH, postgres://",
		"hunter2":                          "want sqlite:PATH, postgres://",
		"hunter2:/x":                       "no such type of database",
		"postgresql://john:hunter2@h/trac": "no such type of database",
		"oracle://john:hunter2@h/trac":     "no such type of database",
		"postgres://localhost:42:42":       "want a port",
		"postgres://john:hunter2/@localhost/trac":                              "want a port",
		"postgres://john:x@hunter2@localhost/t":                                "want one '@'",
		"postgres:/john:hunter2@localhost/t":                                   "want one '@'",
		"mysql:///john:hunter2@localhost/t":                                    "want one '@'",
		"postgres://h/t%00hunter2":                                             "NUL",
		"postgres://john:hunter2@@localhost:x/t":                               "want a port",
		"postgres://john:hunter2@[::1]/trac":                                   "no IPv6",
		"postgres://john:hunter2@h:65536/trac":                                 "want a port",
		"postgres://john:hunter2@h:-1/trac":                                    "want a port",
		"postgres://john:hunter2@h/trac?hunter2":                               "want name=value",
		"postgres://john:hunter2@h/trac?a=1&&b=2":                              "want name=value",
		"postgres://john:hunter2@h/t?sslmode=x":                                "sslmode",
		"postgres://john:hunter2@h/t?sslrootcert=/nowhere&sslmode=verify-full": "nowhere",
		"postgres://john:hunter2@h/t?connect_timeout=x":                        "connect_timeout",
		"sqlite::memory:":                                                      "nobody else can read",
		"sqlite://john:hunter2@h/db":                                           "sqlite://… has a host",
		"sqlite://h/db":                                                        "sqlite://… has a host",
		"mysql://john:hunter2@h":                                               "want the name of a database",
		"mysql://john:hunter2@h/":                                              "want the name of a database",
		"mysql://john:hunter2@h/t?named_pipe=1":                                "named_pipe is for Windows",
	} {
		_, err := Parse(text, "/srv/trac/myenv")
		require.ErrorIs(t, err, ErrConnectionString, text)
		assert.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "hunter2", text)
		assert.NotContains(t, err.Error(), "john", text)
	}
}

func TestSQLite(t *testing.T) {
	for text, want := range map[string]string{
		"sqlite:db/trac.db":               "file:/srv/trac/my env/db/trac.db",
		"sqlite:./../x.db":                "file:/srv/trac/x.db",
		"sqlite:/var/db/trac.db":          "file:/var/db/trac.db",
		"sqlite:///var/db/trac.db":        "file:/var/db/trac.db",
		"sqlite:db/50%25 #1.db":           "file:/srv/trac/my env/db/50%2525 %231.db",
		"sqlite:db/trac.db?timeout=20":    "file:/srv/trac/my env/db/trac.db",
		"sqlite:db/t.db?journal_mode=wal": "file:/srv/trac/my env/db/t.db",
	} {
		d, err := Parse(text, "/srv/trac/my env")
		require.NoError(t, err, text)
		assert.Equal(t, tracbus.SQLite, d.Dialect)
		assert.Empty(t, d.Warnings, text)
		assert.Equal(t, want+"?mode=rw&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)", sqliteDSN(d.file), text)
	}
}

// A file is opened by whatever name it has, and its journal mode stays; none is made.
func TestSQLiteFilesOfOddNames(t *testing.T) {
	for _, name := range []string{"trac.db", "50% of #1 & more.db", "日本.db", "a'b.db"} {
		folder := filepath.Join(t.TempDir(), "env with %41 space")
		require.NoError(t, os.Mkdir(folder, 0o700))
		d, err := Parse("sqlite:"+name, folder)
		require.NoError(t, err)
		_, err = d.Open()
		assert.ErrorIs(t, err, os.ErrNotExist, "%s", name)
		assert.NoFileExists(t, filepath.Join(folder, name))

		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
		db, err := d.Open()
		require.NoError(t, err)
		_, err = db.ExecContext(testkit.Within(t), "CREATE TABLE ticket (id INTEGER PRIMARY KEY)")
		assert.NoError(t, err)
		var mode, timeout string
		require.NoError(t, db.QueryRowContext(testkit.Within(t), "PRAGMA journal_mode").Scan(&mode))
		require.NoError(t, db.QueryRowContext(testkit.Within(t), "PRAGMA busy_timeout").Scan(&timeout))
		assert.Equal(t, "delete 10000", mode+" "+timeout)
		require.NoError(t, db.Close())
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Len(t, entries, 1, "%q", name)
		info, err := os.Stat(filepath.Join(folder, name))
		require.NoError(t, err)
		assert.NotZero(t, info.Size())
	}
	d, err := Parse("sqlite:.", t.TempDir())
	require.NoError(t, err)
	_, err = d.Open()
	assert.ErrorContains(t, err, "not a file")
}

func TestPostgreSQL(t *testing.T) {
	alone(t)
	type target struct {
		user, password, host string
		port                 int
		database             string
		schema, path         string
		name                 string
	}
	for text, want := range map[string]target{
		"postgres://john:letmein@db.example.org:9431/trac":                       {"john", "letmein", "db.example.org", 9431, "trac", "", "", "PostgreSQL database trac at db.example.org:9431"},
		"postgres://john:%3a%40%2f%27%20%5c@localhost/trac?schema=Some%22schema": {"john", `:@/' \`, "localhost", 5432, "trac", `Some"schema`, `"Some""schema"`, "PostgreSQL database trac at localhost:5432"},
		"postgres://a+b%20c:p+q%20r@h/d e+f":                                     {"a+b c", "p+q r", "h", 5432, "d e+f", "", "", "PostgreSQL database d e+f at h:5432"},
		"postgres://john@h/trac?schema=public":                                   {"john", "", "h", 5432, "trac", "", "", "PostgreSQL database trac at h:5432"},
		"postgres://john:letmein@/trac?host=/var/run/elsewhere":                  {"john", "letmein", "/var/run/elsewhere", 5432, "trac", "", "", "PostgreSQL database trac at /var/run/elsewhere"},
		"postgres://john:letmein@h:1/trac?host=%2Fsockets":                       {"john", "letmein", "/sockets", 1, "trac", "", "", "PostgreSQL database trac at /sockets"},
		"postgres://john@h/it's%20\\mine&more":                                   {"john", "", "h", 5432, `it's%20\mine&more`, "", "", `PostgreSQL database it's%20\mine&more at h:5432`},
		"postgres://john@h":                                                      {"john", "", "h", 5432, "", "", "", "PostgreSQL database john at h:5432"},
	} {
		d, err := Parse(text, "/srv/trac/myenv")
		require.NoError(t, err, text)
		c := d.pgx
		assert.Equal(t, want, target{c.User, c.Password, c.Host, int(c.Port), c.Database, d.Schema, c.RuntimeParams["search_path"], d.Name}, text)
		assert.Equal(t, "tracbus", c.RuntimeParams["application_name"])
		assert.Empty(t, d.Warnings, text)
	}
	d, err := Parse("postgres://john@db/trac?sslmode=require&color=red", "")
	require.NoError(t, err)
	require.NotNil(t, d.pgx.TLSConfig)
	assert.Empty(t, d.pgx.Fallbacks, "no way without TLS")
	assert.Equal(t, []string{"the connection string's parameter color is passed over"}, d.Warnings)

	t.Setenv("PGPASSWORD", "of the environment")
	d, err = Parse("postgres://john@db/trac", "")
	require.NoError(t, err)
	assert.Equal(t, "of the environment", d.pgx.Password)
	d, err = Parse("postgres://john:letmein@db/trac", "")
	require.NoError(t, err)
	assert.Equal(t, "letmein", d.pgx.Password)
}

func TestMySQL(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "my.cnf")
	require.NoError(t, os.WriteFile(file, []byte("# of Trac\n[mysqld]\nuser=other\n[client]\nuser = joe\nPassword='it is # secret = 1'\nport=1\nskip-name\n!include x\n[trac]\nsocket=\"/s ock\"\n"), 0o600))
	const parameters = "multiStatements=true&interpolateParams=true&timeout=15s"
	for text, want := range map[string]string{
		"mysql://john:letmein@db.example.org:3307/trac":                         "john:letmein@tcp(db.example.org:3307)/trac",
		"mysql://john:%3a%40%2f@localhost/trac?charset=utf8":                    "john::@/@tcp(localhost:3306)/trac",
		"mysql://john@/trac?unix_socket=/var/run/mysqld.sock":                   "john@unix(/var/run/mysqld.sock)/trac",
		"mysql://john@/trac?unix_socket=/a&unix_socket=/b":                      "john@unix(/b)/trac", // the last one, as in Trac
		"mysql://john:pw@h/trac?compress=1":                                     "john:pw@tcp(h:3306)/trac",
		"mysql://john:pw@h/trac?compress=0&named_pipe=0":                        "john:pw@tcp(h:3306)/trac",
		"mysql://h/trac?read_default_file=" + file:                              "joe:it is # secret = 1@tcp(h:3306)/trac",
		"mysql://john:pw@h/trac?read_default_file=" + file:                      "john:pw@tcp(h:3306)/trac",
		"mysql://john@h/trac?read_default_group=trac&read_default_file=" + file: "john@unix(/s ock)/trac",
		"mysql://john@h/trac?read_default_file=/nowhere/my.cnf":                 "john@tcp(h:3306)/trac",
	} {
		d, err := Parse(text, "/srv/trac/myenv")
		require.NoError(t, err, text)
		got := d.mysql.FormatDSN()
		dsn, query, _ := strings.Cut(got, "?")
		assert.Equal(t, want, dsn, text)
		for p := range strings.SplitSeq(parameters, "&") {
			assert.Contains(t, strings.Split(query, "&"), p, text)
		}
		assert.Equal(t, strings.Contains(text, "compress=1"), strings.Contains(query, "compress=true"), text)
		assert.Empty(t, d.Warnings, text)
		assert.NotContains(t, d.Name, "john")
	}
	d, err := Parse("mysql://john@h/trac?color=red", "")
	require.NoError(t, err)
	assert.Equal(t, []string{"the connection string's parameter color is passed over"}, d.Warnings)
	assert.Equal(t, "MySQL database trac at h:3306", d.Name)

	d, err = Parse("mysql:///trac", "")
	require.NoError(t, err)
	assert.Equal(t, login(), d.mysql.User, "as PyMySQL, the name of who runs the process")
}

// An option file says how connections are encrypted.
func TestMySQLWithTLS(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "my.cnf")
	parse := func(options string) (*Database, error) {
		require.NoError(t, os.WriteFile(file, []byte("[client]\npassword=hunter22\n"+options), 0o600))
		return Parse("mysql://john@h/trac?read_default_file="+file, "")
	}
	_, err := parse("ssl-ca=/nowhere/ca.pem\n")
	assert.ErrorIs(t, err, ErrConnectionString)
	_, err = parse("ssl-cipher=x\n")
	assert.ErrorContains(t, err, "ssl-cipher is not supported")
	assert.NotContains(t, err.Error(), "hunter22")
}

// The statement for new connections is kept; that it runs shows TestRelayOnMariaDB.
func TestInitCommand(t *testing.T) {
	d, err := Parse("mysql://john@h/trac?init_command=SET%20x%3D1", "")
	require.NoError(t, err)
	assert.Equal(t, "SET x=1", d.init)
}

// Whatever the string, the outcome is a database or an ErrConnectionString that does not
// have the password.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"sqlite:db/trac.db", "postgres://john:%3a%40%2f@localhost:1/trac?schema=x&sslmode=disable", "mysql://john:pw@h/trac?unix_socket=/x&compress=1",
		"postgres://a,b:1/x", "mysql://u@h/t?init_command=SET%20a", "postgres:///trac?host=/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "read_default") || strings.Contains(text, "ssl") { // these read files
			return
		}
		const password = "%68unter-2-hunter" // "hunter-2-hunter"
		for _, s := range []string{text, strings.Replace(text, "@", ":"+password+"@", 1)} {
			d, err := Parse(s, "/srv/trac/myenv")
			if err != nil {
				assert.ErrorIs(t, err, ErrConnectionString)
				assert.NotContains(t, err.Error(), "unter-2-hunter")
				continue
			}
			assert.NotContains(t, d.Name, "hunter-2-hunter")
			if u, _ := parse(s); u.scheme == "postgres" && u.password != (tracbus.Secret{}) {
				assert.Equal(t, u.password.Reveal(), d.pgx.Password)
				assert.True(t, u.user == "" || u.user == d.pgx.User)
			}
			if d.Dialect != tracbus.SQLite { // nothing is asked of a server yet
				db, err := d.Open()
				if assert.NoError(t, err) {
					assert.NoError(t, db.Close())
				}
			}
		}
	})
}
