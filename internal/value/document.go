package value

import "strings"

// Changed is a field of a document that changed: the types and the texts of what it was
// and what it is. An empty type says that there was no such field.
type Changed struct {
	Name             string
	OldType, OldText string
	NewType, NewText string
}

// ParseDocument reads {"changed":[[name, old type, old text, new type, new text], …],
// "trace":text, "state":{…}}, appending what changed to changed and the members of the state to
// state. A document need not have a trace; one that is no text is none. It is else as strict as [ParseObject].
func ParseDocument(changed []Changed, state []Member, s string) (_ []Changed, _ []Member, trace string, err error) {
	p := parser{in: s}
	err = p.begin('{', "an object", `"changed"`)
	if err == nil {
		changed, err = p.changed(changed)
	}
	if err == nil {
		trace, err = p.trace()
	}
	if err == nil {
		err = p.begin(',', "','", `"state"`)
	}
	if err == nil {
		state, err = p.object(state)
	}
	if err == nil {
		if p.space(); !p.take('}') {
			err = p.want("'}'")
		} else if p.space(); p.pos < len(p.in) {
			err = p.want("the end")
		}
	}
	return changed, state, trace, err
}

// DropState returns a document without its state, and what is none as it is.
func DropState(s string) string {
	p := parser{in: s}
	if p.begin('{', "an object", `"changed"`) != nil || p.pos == len(s) || s[p.pos] != '[' || p.composite() != nil {
		return s
	}
	if _, err := p.trace(); err != nil {
		return s
	}
	return s[:p.pos] + `,"state":{}}`
}

// trace consumes the member trace, if it comes next.
func (p *parser) trace() (string, error) {
	const name = `"trace"`
	before := p.pos
	p.space()
	if p.take(',') {
		p.space()
		if strings.HasPrefix(p.in[p.pos:], name) {
			p.pos += len(name)
			if p.space(); !p.take(':') {
				return "", p.want("':'")
			}
			p.space()
			kind, text, err := p.value()
			if kind != String {
				text = ""
			}
			return text, err
		}
	}
	p.pos = before
	return "", nil
}

// begin consumes a character and the name of a member.
func (p *parser) begin(c byte, what, name string) error {
	p.space()
	if !p.take(c) {
		return p.want(what)
	}
	p.space()
	if len(p.in)-p.pos < len(name) || p.in[p.pos:p.pos+len(name)] != name {
		return p.want(name)
	}
	p.pos += len(name)
	p.space()
	if !p.take(':') {
		return p.want("':'")
	}
	p.space()
	return nil
}

func (p *parser) changed(dst []Changed) ([]Changed, error) {
	if !p.take('[') {
		return dst, p.want("a list")
	}
	if p.space(); p.take(']') {
		return dst, nil
	}
	for {
		p.space()
		if !p.take('[') {
			return dst, p.want("a list")
		}
		var c Changed
		for i, to := range [...]*string{&c.Name, &c.OldType, &c.OldText, &c.NewType, &c.NewText} {
			if p.space(); i > 0 && !p.take(',') {
				return dst, p.want("','")
			}
			p.space()
			kind, text, err := p.value()
			switch {
			case err != nil:
				return dst, err
			case kind != String && (kind != Null || i == 0):
				return dst, p.want("a string before")
			}
			*to = text
		}
		if p.space(); !p.take(']') {
			return dst, p.want("']'")
		}
		dst = append(dst, c)
		if p.space(); p.take(']') {
			return dst, nil
		}
		if !p.take(',') {
			return dst, p.want("',' or ']'")
		}
	}
}
