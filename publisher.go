package tracbus

// DefaultPrefix is the first part of every channel unless configured otherwise
// (plugin README, [redispub] channel_prefix).
const DefaultPrefix = "trac"

// PublisherConfig says what a [Publisher] publishes, and where.
type PublisherConfig struct {
	// Prefix is the first part of every channel. Zero means [DefaultPrefix],
	// unless NoPrefix is set.
	Prefix string

	// NoPrefix publishes on channels without a prefix and without a leading
	// dot, as Trac does where channel_prefix is empty.
	NoPrefix bool

	// AllValues sends every field of a changed ticket in new_values, as plugin
	// 0.2 does. Zero means the changed fields only, as plugin 0.1 does.
	AllValues bool

	// Rare also publishes the events that the plugin never had. Zero means
	// that subscribers to "trac.*" see nothing new.
	Rare bool

	// Skip names realms that are not published. Zero means that all are.
	Skip []Realm
}
