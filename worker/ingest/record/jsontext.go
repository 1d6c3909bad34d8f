package record

// appendMember begins a member of the object being built in buf; key is JSON text.
func appendMember(buf, key []byte) []byte {
	if len(buf) == 0 {
		buf = append(buf, '{')
	} else {
		buf = append(buf, ',')
	}
	buf = append(buf, key...)
	return append(buf, ':')
}

// closeObject ends the object being built in buf; nil if it has no member.
func closeObject(buf []byte) []byte {
	if len(buf) == 0 {
		return nil
	}
	return append(buf, '}')
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends valid UTF-8 text as a JSON string.
func appendJSONString(buf, text []byte) []byte {
	buf = append(buf, '"')
	from := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			buf = append(buf, '\\', c)
		case '\n':
			buf = append(buf, '\\', 'n')
		case '\r':
			buf = append(buf, '\\', 'r')
		case '\t':
			buf = append(buf, '\\', 't')
		default:
			buf = append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	buf = append(buf, text[from:]...)
	return append(buf, '"')
}
