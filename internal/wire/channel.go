// Package wire knows the messages of the original plugin: the grammar of its
// channels, and the payloads of tickets and pages, from plain data.
package wire

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Channel is a Redis channel in its parts:
//
//	<prefix>.<env>.<realm>.<kind>[.<id>]
//
// created and deleted carry no id, every other kind does. An id goes in raw,
// with whatever dots, spaces and newlines a page name has.
type Channel struct {
	Prefix, Env, Realm, Kind, ID string
}

// The kinds of change that this library has. A new one is added here and to [known];
// the Kind constants of the root and of trac/realms are made of these.
const (
	Created        = "created"
	Changed        = "changed"
	Deleted        = "deleted"
	CommentEdited  = "comment_edited"
	ChangeDeleted  = "change_deleted"
	Renamed        = "renamed"
	VersionDeleted = "version_deleted"
	Moved          = "moved"
)

// known says whether a kind is one that this library has.
func known(kind string) bool {
	switch kind {
	case Created, Changed, Deleted, CommentEdited, ChangeDeleted, Renamed, VersionDeleted, Moved:
		return true
	}
	return false
}

// CheckEnv says why a name cannot be the env of a channel: what it may hold, and that no part of
// it but the first is a kind's name, because then the channel could be taken apart in two ways.
func CheckEnv(env string) error {
	parts := strings.Split(env, ".")
	switch {
	case env == "" || len(env) > maxEnv:
		return fmt.Errorf("env of %d bytes: expected 1 to %d", len(env), maxEnv)
	case !utf8.ValidString(env) || strings.ContainsFunc(env, unicode.IsControl):
		return fmt.Errorf("env %.60q: expected UTF-8 without control characters", env)
	case slices.ContainsFunc(parts[1:], known):
		return fmt.Errorf("env %.60q: expected no part after a dot that is the name of a kind, such as %q", env, Created)
	}
	return nil
}

// maxEnv is how many bytes the journal's tables have room for, on all databases.
const maxEnv = 1000

// HasID says whether the channel of a kind ends in the resource's id.
func HasID(kind string) bool { return kind != Created && kind != Deleted }

// Append appends the channel's name to dst.
func (c Channel) Append(dst []byte) []byte {
	if c.Prefix != "" {
		dst = append(dst, c.Prefix...)
		dst = append(dst, '.')
	}
	dst = append(dst, c.Env...)
	dst = append(dst, '.')
	dst = append(dst, c.Realm...)
	dst = append(dst, '.')
	dst = append(dst, c.Kind...)
	if HasID(c.Kind) {
		dst = append(dst, '.')
		dst = append(dst, c.ID...)
	}
	return dst
}

// String returns the channel's name.
func (c Channel) String() string { return string(c.Append(nil)) }

// ParseChannel takes a name apart. Both prefix and env may hold dots, and so
// may an id, which may even look like the end of another channel: therefore
// the caller gives the prefix it expects and the id that the payload names.
// A channel under another prefix has all before the realm as its env, so that
// it still appends to the same name.
func ParseChannel(name, prefix, realm, id string) (Channel, bool) {
	// The longer reading first: a page may be called "x.wiki.created". But a
	// page may also be called "created" in an env called "wiki", so that a kind
	// nobody knows gives way to one that all know.
	c := Channel{Realm: realm, ID: id}
	long, isLong := "", false
	if rest, ok := strings.CutSuffix(name, "."+id); ok {
		long, c.Kind, isLong = cutKind(rest, realm)
		isLong = isLong && HasID(c.Kind)
	}
	if isLong && known(c.Kind) {
		return c.within(long, prefix), true
	}
	if short, kind, ok := cutKind(name, realm); ok && !HasID(kind) {
		c.Kind = kind
		return c.within(short, prefix), true
	}
	return c.within(long, prefix), isLong
}

// cutKind cuts ".realm.kind" off a channel, and leaves an env.
func cutKind(s, realm string) (stem, kind string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 || i == len(s)-1 {
		return "", "", false
	}
	stem, ok = strings.CutSuffix(s[:i], "."+realm)
	return stem, s[i+1:], ok && stem != ""
}

func (c Channel) within(stem, prefix string) Channel {
	c.Env = stem
	if prefix != "" {
		if env, ok := strings.CutPrefix(stem, prefix+"."); ok && env != "" {
			c.Prefix, c.Env = prefix, env
		}
	}
	return c
}
