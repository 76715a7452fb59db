package script

import "strconv"

// Place is a transaction of a journal: its tid, and its commit id.
type Place struct {
	TID      int64
	CommitID string
}

// Batch holds the messages of one call. Its memory is used again after Reset.
//
// A message is written argument by argument: its texts are appended to Buffer,
// and Cut ends each. See publish.lua for which they are.
type Batch struct {
	Buffer []byte

	ends         []int // of arguments, in Buffer
	messages     int
	transactions []transaction
}

// transaction is one that has messages in the batch.
type transaction struct {
	place    Place
	messages int
}

// Save is a state of a batch, to which it can return.
type Save struct{ buffer, ends, messages, transactions, last int }

// Reset empties b.
func (b *Batch) Reset() {
	b.Buffer, b.ends, b.messages, b.transactions = b.Buffer[:0], b.ends[:0], 0, b.transactions[:0]
}

// Len returns how many messages b has.
func (b *Batch) Len() int { return b.messages }

// Cut ends an argument.
func (b *Batch) Cut() { b.ends = append(b.ends, len(b.Buffer)) }

// Number appends an argument that is a number.
func (b *Batch) Number(n int64) {
	b.Buffer = strconv.AppendInt(b.Buffer, n, 10)
	b.Cut()
}

// Text appends an argument.
func (b *Batch) Text(s string) {
	b.Buffer = append(b.Buffer, s...)
	b.Cut()
}

// End ends a message of the transaction p.
func (b *Batch) End(p Place) {
	b.messages++
	if n := len(b.transactions); n == 0 || b.transactions[n-1].place != p {
		b.transactions = append(b.transactions, transaction{place: p})
	}
	b.transactions[len(b.transactions)-1].messages++
}

// Save returns the state of b, between two messages.
func (b *Batch) Save() Save {
	s := Save{len(b.Buffer), len(b.ends), b.messages, len(b.transactions), 0}
	if s.transactions > 0 {
		s.last = b.transactions[s.transactions-1].messages
	}
	return s
}

// Return takes back what came after s.
func (b *Batch) Return(s Save) {
	b.Buffer, b.ends, b.messages, b.transactions = b.Buffer[:s.buffer], b.ends[:s.ends], s.messages, b.transactions[:s.transactions]
	if s.transactions > 0 {
		b.transactions[s.transactions-1].messages = s.last
	}
}
