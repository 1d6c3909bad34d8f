package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of a YAML document. Aliases count where they are used, so that a small document cannot grow.
const (
	maxYAMLNodes = 100_000
	maxYAMLDepth = 64
)

// document is a YAML document as JSON values, with the place of each.
type document struct {
	file  string
	root  *yaml.Node
	value any
}

var yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlParserFault are the messages of the library's parser, which counts lines from 0 where its scanner counts from 1.
var yamlParserFault = regexp.MustCompile(`did not find expected (<|node content|'-' indicator|key|',' or)`)

// yamlFault tells what is wrong with a document, and the line; 0 where the library does not say.
func yamlFault(err error) (line int, message string) {
	message = err.Error()
	if match := yamlErrorLine.FindStringSubmatch(message); match != nil {
		line, _ = strconv.Atoi(match[1])
		message = message[len(match[0]):]
	}
	if line > 0 && yamlParserFault.MatchString(message) {
		line++
	}
	return line, message
}

// readYAML reads a document; nil where it has faults.
func readYAML(file string, content []byte, faults *Faults) *document {
	var top, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	err := decoder.Decode(&top)
	if errors.Is(err, io.EOF) {
		faults.add(file, 1, 1, "is empty")
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			faults.add(file, second.Line, second.Column, "is a second document in one file: put it into its own")
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		line, message := yamlFault(err)
		faults.add(file, line, 0, "is not YAML: %s", message)
		return nil
	}
	if top.Kind != yaml.DocumentNode || len(top.Content) == 0 {
		faults.add(file, 1, 1, "is empty")
		return nil
	}
	doc := &document{file: file, root: top.Content[0]}
	reader := yamlReader{file: file, faults: faults, before: len(*faults)}
	doc.value = reader.read(doc.root, 0)
	if len(*faults) > reader.before {
		return nil
	}
	return doc
}

// at returns the line and column of the value at a path of keys and indexes; of the nearest value above it where there is
// none.
func (d *document) at(path ...string) (line, column int) {
	node := d.root
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return node.Line, node.Column
}

// atKey returns the line and column of a key of the mapping at a path.
func (d *document) atKey(key string, path ...string) (line, column int) {
	node := d.root
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			return node.Line, node.Column
		}
		node = next
	}
	node = resolve(node)
	if node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i].Line, node.Content[i].Column
			}
		}
	}
	return node.Line, node.Column
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	return node
}

func child(node *yaml.Node, step string) *yaml.Node {
	node = resolve(node)
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i]
		}
	}
	return nil
}

// yamlReader turns nodes into the values of JSON: map[string]any, []any, string, json.Number, bool and nil.
type yamlReader struct {
	file   string
	faults *Faults
	before int
	nodes  int
	full   bool
}

func (r *yamlReader) fault(node *yaml.Node, format string, args ...any) {
	r.faults.add(r.file, node.Line, node.Column, format, args...)
}

func (r *yamlReader) read(node *yaml.Node, depth int) any {
	if r.full {
		return nil
	}
	if r.nodes++; r.nodes > maxYAMLNodes {
		r.full = true
		r.fault(node, "the document has more than %d values, those of aliases counted", maxYAMLNodes)
		return nil
	}
	if depth > maxYAMLDepth {
		r.full = true
		r.fault(node, "is nested deeper than %d levels", maxYAMLDepth)
		return nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return r.read(node.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, item := range node.Content {
			list = append(list, r.read(item, depth+1))
		}
		return list
	case yaml.MappingNode:
		return r.readMapping(node, depth)
	case yaml.ScalarNode:
		return r.readScalar(node)
	default:
		r.fault(node, "is no value that a contract or a configuration can hold")
		return nil
	}
}

func (r *yamlReader) readMapping(node *yaml.Node, depth int) any {
	mapping := make(map[string]any, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.fault(key, "a key must be text")
			continue
		}
		if key.Tag == "!!merge" {
			r.fault(key, "merge keys (<<) are not read: write the values out")
			continue
		}
		if _, twice := mapping[key.Value]; twice {
			r.fault(key, "the key %s stands here twice", key.Value)
			continue
		}
		mapping[key.Value] = r.read(node.Content[i+1], depth+1)
	}
	return mapping
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?$`)

func (r *yamlReader) readScalar(node *yaml.Node) any {
	switch node.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(node.Value, "true")
	case "!!int":
		if jsonNumber.MatchString(node.Value) {
			return json.Number(node.Value)
		}
		if number, ok := new(big.Int).SetString(strings.ReplaceAll(node.Value, "_", ""), 0); ok {
			return json.Number(number.String())
		}
	case "!!float":
		if jsonNumber.MatchString(node.Value) {
			return json.Number(node.Value)
		}
		var number float64
		if err := node.Decode(&number); err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			return json.Number(strconv.FormatFloat(number, 'g', -1, 64))
		}
	case "!!str", "!!timestamp":
		return node.Value
	}
	r.fault(node, "%s is no value that can be read here: put it in quotes", shorten(node.Value))
	return nil
}

// shorten quotes a text for a message.
func shorten(text string) string {
	if len(text) > 60 {
		return fmt.Sprintf("%.57q...", text)
	}
	return strconv.Quote(text)
}
