package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	dir := os.Getenv("LOOK")
	if dir == "" {
		t.Skip()
	}
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if d.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(dir, p)
		info, rows := readFile(t, dir, rel, Layout{Format: os.Getenv("FMT")})
		e := ""
		if len(rows) > 0 {
			e = rows[0].Raw
			if len(e) > 150 {
				e = e[:150]
			}
			e = fmt.Sprintf("%q", e)
		}
		fmt.Printf("%s: rows %d cols %d %.100v unreadable=%v first=%s\n", rel, info.Rows, len(info.ExtraColumns), strings.Join(info.ExtraColumns, "|"), info.Unreadable, e)
		return nil
	})
}
