package tracbus

// Realm names a kind of resource, as Trac does.
type Realm string

// The realms that the original plugin publishes.
const (
	TicketRealm Realm = "ticket"
	WikiRealm   Realm = "wiki"
)
