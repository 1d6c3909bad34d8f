package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxSchemaDepth bounds groups inside each other in a Parquet schema: the
// library walks them by recursion, and a process that runs out of stack ends.
const maxSchemaDepth = 100

var errFooter = errors.New("the Parquet file's footer is damaged")

// checkSchemaDepth looks into a footer (FileMetaData in Thrift's compact
// protocol) for how deep its schema is.
func checkSchemaDepth(footer []byte) error {
	t := &thrift{data: footer}
	for id := 0; ; {
		kind, next := t.field(id)
		if t.bad {
			return errFooter
		}
		if kind == 0 {
			return errors.New("the Parquet file's footer has no schema")
		}
		if id = next; id != 2 || kind != thriftList {
			t.skip(kind, 0)
			continue
		}
		return t.schema()
	}
}

// schema walks a list of SchemaElement, which stand in depth-first order.
func (t *thrift) schema() error {
	kind, n := t.list()
	if kind != thriftStruct {
		return errFooter
	}
	var open []int64 // children still to come of each open group
	for range n {
		children := int64(0)
		for id := 0; ; {
			kind, next := t.field(id)
			if kind == 0 || t.bad {
				break
			}
			if id = next; id == 5 && kind == thriftI32 {
				children = t.zigzag()
			} else {
				t.skip(kind, 0)
			}
		}
		if t.bad {
			return errFooter
		}
		if len(open) > 0 {
			open[len(open)-1]--
		}
		if children > 0 {
			open = append(open, children)
		}
		for len(open) > 0 && open[len(open)-1] <= 0 {
			open = open[:len(open)-1]
		}
		if len(open) > maxSchemaDepth {
			return fmt.Errorf("the Parquet file's columns are nested more than %d deep", maxSchemaDepth)
		}
	}
	return nil
}

// Types of Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thrift walks over data in the compact protocol; bad is set once it isn't that.
type thrift struct {
	data []byte
	bad  bool
}

func (t *thrift) drop(n uint64) {
	if n > uint64(len(t.data)) {
		t.data, t.bad = nil, true
		return
	}
	t.data = t.data[n:]
}

func (t *thrift) next() byte {
	if len(t.data) == 0 {
		t.bad = true
		return 0
	}
	b := t.data[0]
	t.data = t.data[1:]
	return b
}

func (t *thrift) varint() uint64 {
	v, n := binary.Uvarint(t.data)
	if n <= 0 {
		t.bad = true
		return 0
	}
	t.data = t.data[n:]
	return v
}

func (t *thrift) zigzag() int64 {
	v := t.varint()
	return int64(v>>1) ^ -int64(v&1)
}

// field reads a field's header: kind is 0 at the struct's end.
func (t *thrift) field(last int) (kind byte, id int) {
	b := t.next()
	if kind = b & 0x0f; kind == 0 {
		return 0, 0
	}
	if delta := int(b >> 4); delta > 0 {
		return kind, last + delta
	}
	return kind, int(t.zigzag())
}

// list reads a list's header.
func (t *thrift) list() (kind byte, n uint64) {
	b := t.next()
	if n = uint64(b >> 4); n == 15 {
		n = t.varint()
	}
	if n > uint64(len(t.data)) {
		t.bad = true // an element takes a byte or more
		return b & 0x0f, 0
	}
	return b & 0x0f, n
}

// skip passes over a field's value, inside depth others.
func (t *thrift) skip(kind byte, depth int) {
	if depth > 32 {
		t.bad = true
	}
	if t.bad {
		return
	}
	switch kind {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.drop(1)
	case thriftI16, thriftI32, thriftI64:
		t.varint()
	case thriftDouble:
		t.drop(8)
	case thriftBinary:
		t.drop(t.varint())
	case thriftList, thriftSet:
		element, n := t.list()
		for range n {
			t.skipElement(element, depth)
		}
	case thriftMap:
		n := t.varint()
		if n == 0 {
			return
		}
		kinds := t.next()
		for range min(n, uint64(len(t.data))) {
			t.skipElement(kinds>>4, depth)
			t.skipElement(kinds&0x0f, depth)
		}
	case thriftStruct:
		for id := 0; !t.bad; {
			kind, next := t.field(id)
			if kind == 0 {
				return
			}
			id = next
			t.skip(kind, depth+1)
		}
	default:
		t.bad = true
	}
}

// skipElement passes over an element of a list or map, where a bool takes a byte.
func (t *thrift) skipElement(kind byte, depth int) {
	if kind == thriftTrue || kind == thriftFalse {
		kind = thriftByte
	}
	t.skip(kind, depth+1)
}
