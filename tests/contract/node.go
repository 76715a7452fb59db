package contract

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// object is a mapping of the document, in an order that a reader likes.
type object []member

type member struct {
	name  string
	value any // string, int64, bool, object, list, or what JSON gives for an example
}

type list []any

// yamlOf returns the text of a document.
func yamlOf(comment string, o object) ([]byte, error) {
	n := nodeOf(o)
	n.HeadComment = comment
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return text.Bytes(), e.Close()
}

func nodeOf(v any) *yaml.Node {
	switch v := v.(type) {
	case object:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, m := range v {
			n.Content = append(n.Content, scalar(m.name), nodeOf(m.value))
		}
		return n
	case list:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			n.Content = append(n.Content, nodeOf(item))
			if _, isObject := item.(object); isObject {
				return block(n, v)
			}
		}
		n.Style = yaml.FlowStyle
		return n
	}
	return scalar(v)
}

// block is a list with an item in each line.
func block(n *yaml.Node, v list) *yaml.Node {
	n.Content = nil
	for _, item := range v {
		n.Content = append(n.Content, nodeOf(item))
	}
	return n
}

func scalar(v any) *yaml.Node {
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		panic("contract: a value that YAML does not have: " + err.Error())
	}
	return n
}
