package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// randomAccess gives the file's bytes for a format that is read from its end:
// the file itself, or, if it is packed, a copy unpacked into folder. release
// removes the copy.
func randomAccess(ctx context.Context, in *input, folder string) (at io.ReaderAt, size int64, release func(), err error) {
	release = func() {}
	head := make([]byte, 4)
	n, err := in.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, release, err
	}
	if head = head[:n]; !packedName(in.name) && !(n >= 2 && head[0] == 0x1f && head[1] == 0x8b) && !zstdFrame(head) {
		return in, in.size, release, nil
	}
	r, stop, err := unpack(ctx, in)
	defer stop()
	if err != nil {
		return nil, 0, release, err
	}
	unpacked, err := os.CreateTemp(folder, "unpacked-*")
	if err != nil {
		in.fault = err
		return nil, 0, release, err
	}
	release = func() {
		unpacked.Close()
		os.Remove(unpacked.Name())
	}
	size, err = io.Copy(faultWriter{unpacked, in}, io.LimitReader(r, MaxSheetBytes+1))
	if err == nil && size > MaxSheetBytes {
		err = fmt.Errorf("it unpacks to more than %d bytes", int64(MaxSheetBytes))
	}
	return unpacked, size, release, err
}

// faultWriter notes a full disk as nobody's fault.
type faultWriter struct {
	w  io.Writer
	in *input
}

func (f faultWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		f.in.fault = fmt.Errorf("unpack to the scratch folder: %w", err)
	}
	return n, err
}
