package contract

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// contract is docs/asyncapi.yaml as a subscriber's tool reads it: nothing of it comes from
// Go.
type contract struct {
	channels map[string]channel // by their names
	schemas  map[string]*jsonschema.Schema
	examples map[string]string            // of messages
	absent   map[string]map[string]string // the attribute without which a member is left out
}

type channel struct {
	address string
	message string
	extra   bool
}

func readContract(t *testing.T) *contract {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	var read any
	require.NoError(t, yaml.Unmarshal(text, &read))
	asJSON, err := json.Marshal(read)
	require.NoError(t, err)
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	require.NoError(t, err)
	var d struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]any
		}
		Components struct {
			Messages map[string]struct {
				Tags     []struct{ Name string }
				Examples []struct{ Payload json.RawMessage }
			}
			Schemas map[string]struct {
				Properties map[string]struct {
					Absent string `json:"x-absent-with"`
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(asJSON, &d))
	c := &contract{map[string]channel{}, map[string]*jsonschema.Schema{}, map[string]string{}, map[string]map[string]string{}}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	require.NoError(t, compiler.AddResource("asyncapi.json", whole))
	for name, schema := range d.Components.Schemas {
		c.schemas[name], err = compiler.Compile("asyncapi.json#/components/schemas/" + name)
		require.NoError(t, err)
		c.absent[name] = map[string]string{}
		for member, property := range schema.Properties {
			if property.Absent != "" {
				c.absent[name][member] = property.Absent
			}
		}
	}
	for name, message := range d.Components.Messages {
		require.Len(t, message.Examples, 1, name)
		c.examples[name] = string(message.Examples[0].Payload)
	}
	for name, ch := range d.Channels {
		require.Len(t, ch.Messages, 1, name)
		message := slices.Collect(maps.Keys(ch.Messages))[0]
		c.channels[name] = channel{ch.Address, message, len(d.Components.Messages[message].Tags) > 0}
	}
	return c
}

// matches says whether a channel of Redis is one of this address, with a prefix and an env.
// Plain resources are tasks here.
func (c channel) matches(name, prefix, env string) bool {
	address := c.address
	if prefix == "" {
		address = strings.TrimPrefix(address, "{prefix}.")
	}
	address = strings.NewReplacer("{prefix}", prefix, "{env}", env, "{realm}", "task").Replace(address)
	pattern := strings.ReplaceAll(regexp.QuoteMeta(address), `\{id\}`, `(?s:.*)`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(name)
}

// check validates a payload, or the fields of an entry, as a message of that name.
func (c *contract) check(message string, payload any) error {
	return c.schemas[message].Validate(payload)
}

// parsed returns a payload as the validator takes it.
func parsed(t *testing.T, payload string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
	require.NoError(t, err, "%.200q", payload)
	return v
}
