package ingest

import "golang.org/x/text/unicode/norm"

// nfc normalises as the statement should.
func nfc(text string) string { return norm.NFC.String(text) }
