package environment_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/environment"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/tracdb"
)

// write makes an environment and returns its folder.
func write(t *testing.T, ini string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "myenv")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "conf"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "conf", "trac.ini"), []byte(ini), 0o600))
	return folder
}

func TestDatabaseOfAnEnvironment(t *testing.T) {
	folder := write(t, "[inherit]\nfile = ../../site.ini\n[redis_client]\nhost = redis.example.org\n")
	name := func(path string) string {
		e, err := environment.Load(path)
		require.NoError(t, err)
		assert.Equal(t, "myenv", e.Config.Env)
		d, err := e.Database()
		require.NoError(t, err)
		return d.Name
	}
	assert.Equal(t, "SQLite file "+filepath.Join(folder, "db", "trac.db"), name(folder), "Trac's default")
	assert.Equal(t, "SQLite file "+filepath.Join(folder, "db", "trac.db"), name(filepath.Join(folder, "conf", "trac.ini")))
	t.Chdir(filepath.Dir(folder))
	assert.Equal(t, "SQLite file "+filepath.Join(folder, "db", "trac.db"), name("myenv"))

	site := filepath.Join(filepath.Dir(folder), "site.ini")
	require.NoError(t, os.WriteFile(site, []byte("[trac]\ndatabase = mysql://john:hunter2hunter@db/inherited\n"), 0o600))
	assert.Equal(t, "MySQL database inherited at db:3306", name(folder))

	t.Setenv(environment.DatabaseVariable, "postgres://relay:hunter2hunter@db/own")
	assert.Equal(t, "PostgreSQL database own at db:5432", name(folder))
}

// Errors say where the setting is, and have no password.
func TestErrorsOfSettings(t *testing.T) {
	folder := write(t, "[trac]\n\ndatabase = postgres://john:hunter2/hunter@db/x\n")
	e, err := environment.Load(folder)
	require.NoError(t, err)
	_, err = e.Database()
	assert.ErrorIs(t, err, tracdb.ErrConnectionString)
	assert.ErrorContains(t, err, filepath.Join("conf", "trac.ini")+":3: [trac] database: connection string")
	assert.NotContains(t, err.Error(), "hunter")

	t.Setenv(environment.RedisVariable, "redis://:hunter2hunter@[host/x")
	_, err = environment.Load(folder)
	assert.ErrorIs(t, err, tracbus.ErrConfig)
	assert.ErrorContains(t, err, "$TRACBUS_REDIS: ")
	assert.NotContains(t, err.Error(), "hunter")

	_, err = environment.Load(t.TempDir())
	assert.ErrorIs(t, err, tracbus.ErrConfig)
}

func TestRedisOfAnEnvironment(t *testing.T) {
	folder := write(t, "[redis_client]\nhost = redis.example.org\npassword = of the file\n")
	e, err := environment.Load(folder)
	require.NoError(t, err)
	assert.Equal(t, "redis.example.org:6379", e.Config.Redis.Addr)
	t.Setenv(environment.RedisVariable, "redis://relay:own@other:1234/2")
	e, err = environment.Load(folder)
	require.NoError(t, err)
	assert.Equal(t, "other:1234", e.Config.Redis.Addr)
	assert.Equal(t, "own", e.Config.Redis.Password.Reveal())
}

// A trac.ini that says nothing of the plugin's components has everything published; one
// that does is heeded.
func TestComponents(t *testing.T) {
	for ini, want := range map[string][]tracbus.Realm{
		"":                                 nil,
		"[components]\ntrac.* = enabled\n": nil,
		"[components]\ntracext.redispub.* = enabled\n":  nil,
		"[components]\ntracext.* = enabled\n":           nil,
		"[components]\ntracext.redispub.* = disabled\n": {"ticket", "wiki"},
		"[components]\n* = disabled\n":                  {"ticket", "wiki"},
		"[components]\ntracext.redispub.redis.redisclient = enabled\ntracext.redispub.ticket.redisticketstream = enabled\n": {"wiki"},
		"[components]\ntracext.redispubs.* = disabled\n":                                                                    nil,
	} {
		e, err := environment.Load(write(t, ini))
		require.NoError(t, err, ini)
		assert.Equal(t, want, e.Config.Publisher.SkipRealms, ini)
		assert.Equal(t, len(want) == 2, e.NothingEnabled, ini)
	}
}
