package pipeline

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// odcsSchemaJSON describes the structure of the Open Data Contract Standard 3.1. It is our own document: it takes what the
// standard takes, and asks for what Shoplake needs beyond it (a schema, a server, a logical type).
//
//go:embed odcs.schema.json
var odcsSchemaJSON []byte

var odcsSchema = sync.OnceValue(func() *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(odcsSchemaJSON))
	if err != nil {
		panic(fmt.Sprintf("odcs.schema.json: %v", err)) // embedded: it is read by every test
	}
	const name = "urn:shoplake:odcs-3.1"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		panic(fmt.Sprintf("odcs.schema.json: %v", err))
	}
	return compiler.MustCompile(name)
})

var schemaMessages = message.NewPrinter(language.English)

// checkODCS faults what in a document is not of the standard's structure, each at its place. It returns whether all is well.
func checkODCS(doc *document, faults *Faults) bool {
	err := odcsSchema().Validate(doc.value)
	if err == nil {
		return true
	}
	invalid, ok := err.(*jsonschema.ValidationError)
	if !ok {
		line, column := doc.at()
		faults.add(doc.file, line, column, "is no contract: %v", err)
		return false
	}
	faultODCS(doc, invalid, faults)
	return false
}

// faultODCS reports the causes at the leaves: what is above them only says that something below is wrong.
func faultODCS(doc *document, invalid *jsonschema.ValidationError, faults *Faults) {
	if len(invalid.Causes) > 0 {
		for _, cause := range invalid.Causes {
			faultODCS(doc, cause, faults)
		}
		return
	}
	at := invalid.InstanceLocation
	place := strings.Join(at, ".")
	if place == "" {
		place = "the document"
	}
	line, column := doc.at(at...)
	switch reason := invalid.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range reason.Properties {
			line, column := doc.atKey(key, at...)
			faults.add(doc.file, line, column, "%s: the standard has no key %s here (extensions go into customProperties)", place, shorten(key))
		}
	case *kind.Required:
		faults.add(doc.file, line, column, "%s: %s is missing", place, strings.Join(reason.Missing, ", "))
	case *kind.FalseSchema:
		faults.add(doc.file, line, column, "%s: does not go with the other keys here", place)
	default:
		faults.add(doc.file, line, column, "%s: %s", place, invalid.ErrorKind.LocalizedString(schemaMessages))
	}
}
