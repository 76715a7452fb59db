package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// A relay whose users have the rights of docs/relay.md, and no others, publishes what
// Trac writes to any of its tables. Status sees with them that a trigger is missing.
func TestRights(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "relay.md"))
	require.NoError(t, err)
	acl := regexp.MustCompile(`(?m)^ACL SETUSER tracbus on >password (.*)$`).FindStringSubmatch(string(page))
	require.NotNil(t, acl)
	for i, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1)
			require.Len(t, blocks, 2)
			e := newEnvironment(t, testdatabase.New(t, dialect))
			e.ini(e.connection("trac"), "[redispub]\nrare_events = enabled\n")
			p := e.relay("-install")
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.code())

			statements := strings.Split(strings.TrimSpace(blocks[i][1]), "\n")
			for _, statement := range statements {
				statement = strings.NewReplacer("'password'", "'"+databasePassword+"'", " trac.", " "+e.name+".").Replace(statement)
				e.exec(strings.TrimSuffix(statement, ";"))
			}
			admin := redis.NewClient(&redis.Options{Addr: e.redis.Addr(), Password: redisPassword})
			defer admin.Close()
			set := []any{"ACL", "SETUSER", "tracbus", "on", ">" + redisPassword}
			for word := range strings.FieldsSeq(acl[1]) {
				set = append(set, word)
			}
			require.NoError(t, admin.Do(testkit.Within(t), set...).Err())
			e.vars = append(e.vars, "TRACBUS_DATABASE="+e.connection("tracbus"), "TRACBUS_REDIS=redis://tracbus:"+redisPassword+"@"+e.redis.Addr())

			p = e.relay()
			heard := e.listen()
			e.ticket("one")
			heard.created("one")
			e.exec("INSERT INTO ticket_custom (ticket, name, value) VALUES (1, 'colour', 'red')")
			e.exec("INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('Start', 1, 1, 'joe', 'text', '', 0)")
			e.exec("INSERT INTO milestone (name, due, completed, description) VALUES ('m1', 0, 0, '')")
			e.exec("INSERT INTO component (name, owner, description) VALUES ('c1', 'joe', '')")
			e.exec("INSERT INTO version (name, time, description) VALUES ('v1', 0, '')")
			e.exec("INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('wiki', 'Start', 'a.txt', 1, 1, '', 'joe')")
			e.exec("DELETE FROM ticket WHERE id = 1")
			want := map[string]bool{"wiki.created": true, "milestone.created": true, "component.created": true, "version.created": true, "attachment.created": true, "ticket.deleted": true}
			for len(want) > 0 {
				channel, _ := heard.next()
				delete(want, strings.TrimPrefix(channel, "trac.myenv."))
			}
			st, code := e.status()
			assert.Equal(t, 0, code, "%v", st.Problems)
			p.signal(syscall.SIGTERM)
			assert.Equal(t, 0, p.code())
			assert.NotContains(t, p.said.String(), "WARN")
			assert.NotContains(t, p.said.String(), "ERROR")

			if dialect == "postgresql" {
				var name string
				require.NoError(t, e.db.QueryRowContext(testkit.Within(t), "SELECT min(tgname::text) FROM pg_trigger WHERE tgrelid = 'wiki'::regclass AND NOT tgisinternal").Scan(&name))
				e.exec("DROP TRIGGER " + name + " ON wiki")
			} else {
				e.exec("DROP TRIGGER journal_wiki_insert")
			}
			st, _ = e.status("-consumer", "")
			assert.Equal(t, []string{"capture_off"}, st.codes())
			if dialect == "postgresql" { // on MySQL, who may see triggers may make some
				code, _, said := e.run("relay", "-install")
				assert.Equal(t, 1, code)
				assert.Regexp(t, `permission denied|must be owner`, said)
			}
		})
	}
}
