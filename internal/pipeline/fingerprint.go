package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Fingerprint is the SHA-256 in hex of all but the data that a table's rows follow from: for a model its SQL (comments and
// white space do not count), its header as far as it says how rows are made, the contracts of the sources that it reads, the
// time zone, the currency and the engine's version. A table whose fingerprint is another than the one it was built with is
// built again. It is empty where the pipeline has no such table.
//
// For bronze it is the contract and the time zone alone: another version of the engine reads no file again.
func Fingerprint(p *Pipeline, table, engineVersion string) string {
	if source := p.SourceOf(table); source != nil {
		return hashOf(struct{ Contract, TimeZone string }{source.Contract.Hash, p.TimeZone})
	}
	model := p.Model(table)
	if model == nil {
		return ""
	}
	contracts := map[string]string{}
	for _, input := range model.Inputs {
		if source := p.SourceOf(input.Table); source != nil {
			contracts[input.Table] = source.Contract.Hash
		}
	}
	return hashOf(struct {
		SQL                               string
		Partition                         Partition
		Key                               []string
		Reach                             Reach
		Inputs                            []Input
		Build                             Build
		Columns                           []Column
		Contracts                         map[string]string
		TimeZone, Currency, EngineVersion string
	}{
		SQL: normalizeSQL(model.SQL), Partition: model.Partition, Key: model.Key, Reach: model.Reach, Inputs: model.Inputs,
		Build: model.Build, Columns: model.Columns, Contracts: contracts,
		TimeZone: p.TimeZone, Currency: p.Currency, EngineVersion: engineVersion,
	})
}

// ChecksFingerprint is the SHA-256 in hex of the checks of a table; empty where it has none. A table that passed other checks than
// these is checked again.
func ChecksFingerprint(p *Pipeline, table string) string {
	type check struct {
		Name, SQL string
		Severity  Severity
	}
	var checks []check
	for _, c := range p.ChecksOf(table) {
		checks = append(checks, check{c.Name, normalizeSQL(c.SQL), c.Severity})
	}
	if len(checks) == 0 {
		return ""
	}
	return hashOf(checks)
}

// hashOf hashes plain data; maps are encoded in the order of their keys.
func hashOf(data any) string {
	encoded, err := json.Marshal(data)
	if err != nil {
		panic("plain data cannot be encoded: " + err.Error()) // no channel, no function, no NaN
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}
