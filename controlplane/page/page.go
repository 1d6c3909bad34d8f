// Package page cuts lists into pages by opaque tokens (AIP-158).
package page

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrToken says that a page token is not one that this server gave.
var ErrToken = errors.New("page_token is not one that was given with this list: begin again without it")

// DefaultSize is how many entries a page has where no size is asked for.
const DefaultSize = 50

// Token is where a page begins: an offset into a list that scope names. A token of another scope is refused.
func Token(scope string, offset int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(scope + "\n" + strconv.Itoa(offset)))
}

// Offset reads a token; the empty one is the beginning.
func Offset(token, scope string) (int, error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, ErrToken
	}
	i := strings.LastIndexByte(string(text), '\n')
	if i < 0 || string(text[:i]) != scope {
		return 0, ErrToken
	}
	offset, err := strconv.Atoi(string(text[i+1:]))
	if err != nil || offset < 0 {
		return 0, ErrToken
	}
	return offset, nil
}

// Cut returns one page of a list and the token of the next; empty at the end.
func Cut[T any](list []T, size int32, token, scope string) ([]T, string, error) {
	offset, err := Offset(token, scope)
	if err != nil {
		return nil, "", err
	}
	if offset > len(list) {
		return nil, "", fmt.Errorf("%w (the list has become shorter)", ErrToken)
	}
	n := int(size)
	if n == 0 {
		n = DefaultSize
	}
	end := min(offset+n, len(list))
	if end == len(list) {
		return list[offset:end], "", nil
	}
	return list[offset:end], Token(scope, end), nil
}
