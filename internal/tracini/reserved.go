package tracini

// Reserved says whether Trac's queries and tickets use a name themselves
// (TicketSystem.reserved_field_names), so that no custom field can have it.
func Reserved(name string) bool {
	switch name {
	case "report", "order", "desc", "group", "groupdesc", "col", "row", "format", "max", "page", "verbose",
		"comment", "or", "id", "time", "changetime", "owner", "reporter", "cc", "summary", "description", "keywords":
		return true
	}
	return false
}
