//go:build unix && !linux

package chaos

import (
	"errors"
	"testing"
)

// newDisk makes no disk here: fail points say that the disk is full.
func newDisk(testing.TB, string) bool { return false }

func clearDisks() {}

func fill(string) (func() error, error) {
	return nil, errors.New("there is no disk to fill")
}
