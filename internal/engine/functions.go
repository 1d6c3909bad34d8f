package engine

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed functions.txt
var functionList string

// allowedFunctions are the names, in lower case, that statements from outside may call.
var allowedFunctions = sync.OnceValue(func() map[string]bool { return words(functionList) })

// tableFunctions are the functions that may stand in FROM: they make rows from their arguments alone. All others of DuckDB
// read files, run SQL, or tell of the session.
var tableFunctions = map[string]bool{"range": true, "generate_series": true, "unnest": true}

// words are the words of a list, in lower case, comment lines left out.
func words(list string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			set[strings.ToLower(word)] = true
		}
	}
	return set
}
