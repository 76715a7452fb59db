package redisconn

// Bytes is an argument of a command that costs no allocation: go-redis asks a
// pointer to it for its bytes.
type Bytes []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (b *Bytes) MarshalBinary() ([]byte, error) { return *b, nil }

// String makes hooks that trace commands print text.
func (b *Bytes) String() string { return string(*b) }
