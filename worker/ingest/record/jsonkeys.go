package record

import (
	"bytes"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// keys knows the names of members seen in a file, so that a name is trimmed and
// folded once and not a record.
type keys struct {
	layout *compiled
	extras extras
	known  map[string]*key // by the name's bytes between its quotes, escapes and all
	folded map[string]int  // by folded name of members without a column: their number
	next   int             // next number to give; 0 to len(columns)-1 are the columns themselves
	seen   []int64         // by number: the last record that had it
	bytes  int             // of all names known
	order  []*key          // names of the record before, in its order
	record int64
}

type key struct {
	raw    []byte
	number int
	target int    // the layout's column, -1 if it has none
	json   []byte // the trimmed name as JSON text
}

func newKeys(layout *compiled) *keys {
	k := &keys{layout: layout}
	k.forget()
	return k
}

func (k *keys) forget() {
	k.known, k.folded = map[string]*key{}, map[string]int{}
	k.next, k.bytes = len(k.layout.Columns), 0
	k.seen = make([]int64, k.next)
	k.order = k.order[:0]
}

// begin starts a record. A file with ever new names does not grow what is kept.
func (k *keys) begin() {
	if k.bytes > 4<<20 || len(k.known) > 2*MaxColumns {
		k.forget()
	}
	k.record++
}

// find gives the name of member n of the record; repeated if the record had it
// before.
func (k *keys) find(n int, raw []byte, escaped bool) (found *key, repeated bool) {
	if n < len(k.order) && bytes.Equal(k.order[n].raw, raw) {
		found = k.order[n]
	} else {
		if found = k.known[string(raw)]; found == nil {
			found = k.add(raw, escaped)
		}
		if n < len(k.order) {
			k.order[n] = found
		} else if n == len(k.order) && n < MaxColumns {
			k.order = append(k.order, found)
		}
	}
	repeated = k.seen[found.number] == k.record
	k.seen[found.number] = k.record
	return found, repeated
}

func (k *keys) add(raw []byte, escaped bool) *key {
	added := &key{raw: bytes.Clone(raw), target: -1}
	name := added.raw
	if escaped {
		name = appendUnescaped(nil, raw)
	}
	text := norm.NFC.String(strings.TrimSpace(string(name)))
	folded := fold(text)
	if column, known := k.layout.byName[folded]; known {
		added.number, added.target = column, column
	} else {
		number, known := k.folded[folded]
		if !known {
			number = k.next
			k.next++
			k.folded[folded] = number
			k.seen = append(k.seen, 0)
			k.extras.note(text)
		}
		added.number = number
	}
	added.json = appendJSONString(nil, []byte(text))
	k.known[string(raw)] = added
	k.bytes += 4*len(raw) + 64
	return added
}
