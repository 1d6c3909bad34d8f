package record

// maxLexDepth bounds the memory of elementLexer; an array with an element
// nested deeper is taken for broken.
const maxLexDepth = 1 << 20

// elementLexer finds the end of one array element byte by byte, whatever its
// length, and checks its grammar. What does not hide where elements end (bytes
// that are not UTF-8, half surrogates, too much depth) is left to the scanner.
type elementLexer struct {
	state  lexState
	word   string // rest of true, false or null
	hex    int    // hexadecimal digits still to come
	key    bool   // the string is a member's name
	depth  int
	object []uint64 // a bit a level: object, not list
}

type lexState uint8

const (
	lexValue     lexState = iota // before a value
	lexFirstItem                 // behind [: a value or ]
	lexFirstKey                  // behind {: a key or }
	lexKey                       // behind a comma in an object
	lexColon                     // behind a key
	lexAfter                     // behind a value inside something
	lexString                    // in a string
	lexEscape                    // behind a backslash
	lexHex                       // in \uXXXX
	lexWord                      // in true, false, null
	lexMinus                     // behind -
	lexZero                      // behind a leading 0
	lexInt                       // in the integer part
	lexPoint                     // behind the point
	lexFraction                  // in the fraction
	lexExp                       // behind e
	lexSign                      // behind its sign
	lexExpDigits                 // in the exponent
)

// take looks at the element's next bytes: n of them belong to it. ended tells
// that the element ends with them (a number, with what follows it).
func (l *elementLexer) take(s []byte) (n int, ended, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if l.state == lexString {
			if i = plainRun(s, i); i == len(s) {
				break
			}
			c = s[i]
		}
		if l.numberEnds(c) {
			if l.depth == 0 {
				return i, true, true
			}
			l.state = lexAfter
		}
		done, ok := l.step(c)
		if !ok {
			return i, false, false
		}
		if done {
			return i + 1, true, true
		}
	}
	return len(s), false, true
}

// numberEnds tells whether a number was whole before c.
func (l *elementLexer) numberEnds(c byte) bool {
	digit := c >= '0' && c <= '9'
	switch l.state {
	case lexZero:
		return c != '.' && c|0x20 != 'e'
	case lexInt:
		return !digit && c != '.' && c|0x20 != 'e'
	case lexFraction:
		return !digit && c|0x20 != 'e'
	case lexExpDigits:
		return !digit
	}
	return false
}

// step takes one byte; done tells that the element ended with it.
func (l *elementLexer) step(c byte) (done, ok bool) {
	digit := c >= '0' && c <= '9'
	space := c == ' ' || c == '\t' || c == '\n' || c == '\r'
	switch l.state {
	case lexFirstItem:
		if c == ']' {
			return l.pop(), true
		}
		return false, space || l.value(c)
	case lexValue:
		return false, space || l.value(c)
	case lexFirstKey, lexKey:
		if c == '}' && l.state == lexFirstKey {
			return l.pop(), true
		}
		if c == '"' {
			l.state, l.key = lexString, true
			return false, true
		}
		return false, space
	case lexColon:
		if c == ':' {
			l.state = lexValue
			return false, true
		}
		return false, space
	case lexAfter:
		inObject := l.object[(l.depth-1)/64]&(1<<((l.depth-1)%64)) != 0
		switch {
		case space:
			return false, true
		case c == ',' && inObject:
			l.state = lexKey
			return false, true
		case c == ',':
			l.state = lexValue
			return false, true
		case c == '}' && inObject, c == ']' && !inObject:
			return l.pop(), true
		}
		return false, false
	case lexString:
		switch c {
		case '"':
			if l.key {
				l.state, l.key = lexColon, false
				return false, true
			}
			return l.end(), true
		case '\\':
			l.state = lexEscape
			return false, true
		}
		return false, false // a control character: plainRun stops at nothing else
	case lexEscape:
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			l.state = lexString
			return false, true
		case 'u':
			l.state, l.hex = lexHex, 4
			return false, true
		}
		return false, false
	case lexHex:
		if l.hex--; l.hex == 0 {
			l.state = lexString
		}
		return false, digit || c|0x20 >= 'a' && c|0x20 <= 'f'
	case lexWord:
		if c != l.word[0] {
			return false, false
		}
		if l.word = l.word[1:]; l.word == "" {
			return l.end(), true
		}
		return false, true
	}
	return false, l.number(c, digit)
}

// number takes one byte of a number.
func (l *elementLexer) number(c byte, digit bool) bool {
	switch l.state {
	case lexMinus:
		l.state = lexInt
		if c == '0' {
			l.state = lexZero
		}
		return digit
	case lexZero, lexInt:
		switch {
		case c == '.':
			l.state = lexPoint
		case c|0x20 == 'e':
			l.state = lexExp
		}
		return true
	case lexPoint:
		l.state = lexFraction
		return digit
	case lexFraction:
		if c|0x20 == 'e' {
			l.state = lexExp
		}
		return true
	case lexExp:
		if c == '+' || c == '-' {
			l.state = lexSign
			return true
		}
		l.state = lexExpDigits
		return digit
	case lexSign:
		l.state = lexExpDigits
		return digit
	}
	return true // lexExpDigits
}

// value takes the first byte of a value.
func (l *elementLexer) value(c byte) bool {
	switch c {
	case '{':
		return l.push(true)
	case '[':
		return l.push(false)
	case '"':
		l.state = lexString
	case 't':
		l.state, l.word = lexWord, "rue"
	case 'f':
		l.state, l.word = lexWord, "alse"
	case 'n':
		l.state, l.word = lexWord, "ull"
	case '-':
		l.state = lexMinus
	case '0':
		l.state = lexZero
	default:
		l.state = lexInt
		return c >= '1' && c <= '9'
	}
	return true
}

func (l *elementLexer) push(object bool) bool {
	if l.depth == maxLexDepth {
		return false
	}
	if l.depth/64 == len(l.object) {
		l.object = append(l.object, 0)
	}
	if object {
		l.state = lexFirstKey
		l.object[l.depth/64] |= 1 << (l.depth % 64)
	} else {
		l.state = lexFirstItem
		l.object[l.depth/64] &^= 1 << (l.depth % 64)
	}
	l.depth++
	return true
}

func (l *elementLexer) pop() (done bool) {
	l.depth--
	return l.end()
}

// end is behind a value.
func (l *elementLexer) end() (done bool) {
	l.state = lexAfter
	return l.depth == 0
}
