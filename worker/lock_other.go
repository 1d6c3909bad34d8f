//go:build !unix

package worker

import "errors"

// lockScratch locks nothing where there are no advisory locks: leftovers of dead workers then stay until somebody removes them.
func lockScratch(_ string, create bool) (unlock func(), err error) {
	if !create {
		return nil, errors.ErrUnsupported
	}
	return func() {}, nil
}
