// Package pipelines holds the pipelines that ship with the program.
package pipelines

import (
	"embed"
	"io/fs"
)

//go:embed ecommerce
var shipped embed.FS

// Ecommerce is the folder of the e-commerce pipeline.
var Ecommerce = folder("ecommerce")

func folder(name string) fs.FS {
	sub, err := fs.Sub(shipped, name)
	if err != nil {
		panic("the shipped pipeline is not in the program: " + err.Error()) // the name stands above
	}
	return sub
}
