package bus

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// roomNeeded is what a disk that was full must take, in bytes, before the server is started again.
	roomNeeded = 4 << 20
	// roomInterval is how often room is looked for, and how long the server runs at least.
	roomInterval = time.Second
)

// isStuck tells by what the server logs whether a stream could not be written. The server then refuses all later writes to it
// for as long as it runs, also when the disk has room again.
func isStuck(text string) bool {
	return strings.Contains(text, "ritical write error") || strings.Contains(text, "failed to store a msg") || strings.Contains(text, "will be DISABLED")
}

// keep starts the server again, on the same port, when something could not be written and the disk takes writes again: nobody
// else would, and everything waits until then. What was acknowledged is on the disk.
func (s *Server) keep(ctx context.Context) {
	defer close(s.kept)
	for {
		select {
		case <-ctx.Done():
			return
		case why := <-s.log.stuck:
			slog.Error("the embedded NATS server could not write: it starts again when the disk takes writes; free space there",
				"folder", s.options.StoreDir, "error", why)
		}
		for started := false; !started; {
			if pause(ctx, roomInterval) != nil {
				return
			}
			if err := probe(s.options.StoreDir); err != nil {
				slog.Debug("the disk takes no writes yet", "folder", s.options.StoreDir, "error", err)
				continue
			}
			s.stop()
			s.forget()
			if err := s.start(ctx); err != nil {
				slog.Error("could not start the embedded NATS server again; trying again", "error", err)
				continue
			}
			started = true
			slog.Warn("the disk takes writes again: started the embedded NATS server again", "folder", s.options.StoreDir)
		}
	}
}

// forget drops complaints of a server that has stopped.
func (s *Server) forget() {
	for {
		select {
		case <-s.log.stuck:
		case <-s.log.fatal:
		default:
			return
		}
	}
}

// probe tells whether the disk of a folder takes writes.
func probe(folder string) error {
	path := filepath.Join(folder, ".room")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, roomNeeded))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}
