package wire

import "strings"

// Channel is a Redis channel in its parts:
//
//	<prefix>.<env>.<realm>.<kind>[.<id>]
//
// created and deleted carry no id, every other kind does. An id goes in raw,
// with whatever dots, spaces and newlines a page name has.
type Channel struct {
	Prefix, Env, Realm, Kind, ID string
}

// HasID says whether the channel of a kind ends in the resource's id.
func HasID(kind string) bool { return kind != "created" && kind != "deleted" }

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
	c := Channel{Realm: realm, ID: id}
	// The longer reading first: a page may be called "x.wiki.created".
	if stem, ok := strings.CutSuffix(name, "."+id); ok {
		if stem, kind, ok := cutLast(stem); ok && kind != "" && HasID(kind) {
			if stem, ok := strings.CutSuffix(stem, "."+realm); ok && stem != "" {
				c.Kind = kind
				return c.within(stem, prefix), true
			}
		}
	}
	if stem, kind, ok := cutLast(name); ok && !HasID(kind) {
		if stem, ok := strings.CutSuffix(stem, "."+realm); ok && stem != "" {
			c.Kind = kind
			return c.within(stem, prefix), true
		}
	}
	return Channel{}, false
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

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
