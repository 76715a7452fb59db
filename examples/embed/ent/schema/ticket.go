// Package schema is what ent makes package tickets of:
//
//	go run entgo.io/ent/cmd/ent@v0.14.5 generate --target ./tickets ./schema
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
)

// Ticket has a title.
type Ticket struct{ ent.Schema }

// Fields implements [ent.Interface].
func (Ticket) Fields() []ent.Field {
	return []ent.Field{field.Int64("id"), field.String("title")}
}

// Annotations implements [ent.Interface].
func (Ticket) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Annotation{Table: "ticket"}}
}
