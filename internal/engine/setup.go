package engine

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	zoneName     = regexp.MustCompile(`^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$`)
	currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)
)

// maxOpenParts is how many files of one ExportParts are open at a time; of more values than that, one may have several files.
const maxOpenParts = 500

// setupSQL is what every session begins with. The order matters: the macros and the allowed folders come before external
// access is switched off, and locking the configuration is last.
func setupSQL(o Options, spill string) (string, error) {
	if o.TimeZone != "" && !zoneName.MatchString(o.TimeZone) {
		return "", fmt.Errorf("%q is not the name of a time zone: use an IANA name such as Europe/Berlin", o.TimeZone)
	}
	if o.Currency != "" && !currencyCode.MatchString(o.Currency) {
		return "", fmt.Errorf("%q is not a currency: use an ISO 4217 code such as EUR", o.Currency)
	}
	folders, err := allowedFolders(o, spill)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	set := func(format string, args ...any) { fmt.Fprintf(&b, "SET GLOBAL "+format+";\n", args...) }
	// Errors come as JSON: with their class, and the place in the statement.
	set("errors_as_json = true")
	set("TimeZone = 'UTC'")
	if o.Threads > 0 {
		set("threads = %d", o.Threads)
	}
	if o.MemoryLimit > 0 {
		set("memory_limit = '%dB'", o.MemoryLimit)
	}
	// Rows of files count as few before they are read, and a nested loop chosen for few is without end for many.
	set("nested_loop_join_threshold = 0")
	set("asof_loop_join_threshold = 0")
	// ExportParts: each file is written once, when all its rows are there.
	set("partitioned_write_flush_threshold = 1000000000000")
	set("partitioned_write_max_open_files = %d", maxOpenParts)
	b.WriteString(macrosSQL(o))
	set("allowed_directories = %s", quoteList(folders))
	set("temp_directory = %s", quote(spill))
	if spill != "" && o.SpillLimit > 0 {
		set("max_temp_directory_size = '%dB'", o.SpillLimit)
	}
	set("autoinstall_known_extensions = false")
	set("autoload_known_extensions = false")
	set("allow_community_extensions = false")
	set("enable_external_access = false")
	set("lock_configuration = true")
	return b.String(), nil
}

func allowedFolders(o Options, spill string) ([]string, error) {
	var folders []string
	if spill != "" {
		folders = append(folders, spill)
	}
	for _, paths := range [][]string{o.ReadPaths, o.WritePaths} {
		for _, path := range paths {
			abs, err := filepath.Abs(path)
			if err != nil {
				return nil, fmt.Errorf("find the folder %s: %w", path, err)
			}
			folders = append(folders, abs)
			// DuckDB checks the pattern as well as the file that it stands for (see literalPath).
			if pattern := literalPath(abs); pattern != abs {
				folders = append(folders, pattern)
			}
		}
	}
	return folders, nil
}

// macrosSQL defines what pipelines may call beside DuckDB's own functions.
//
// quotient and div_exact divide exactly, because DuckDB's division of decimals gives a floating-point number. Both sides
// become whole multiples of 10^-8 (_unscaled), are divided as 128-bit integers with one digit more than wanted, which cuts
// off the rest, and that digit is rounded half away from zero: what was cut off cannot change which side of the half the
// quotient lies on. The last multiplication only moves the decimal point. Values up to 10^21, of at most 8 fraction digits,
// stay within 128 bits; a greater one is an overflow error, never a wrong number.
func macrosSQL(o Options) string {
	currency := "CAST(NULL AS VARCHAR)"
	if o.Currency != "" {
		currency = quote(o.Currency)
	}
	// For UTC the date is a division, which is twenty times as fast as asking the time zone's rules.
	day := "make_timestamp(epoch_us(CAST(ts AS TIMESTAMP WITH TIME ZONE)))"
	if o.TimeZone != "" && o.TimeZone != "UTC" {
		day = "timezone(" + quote(o.TimeZone) + ", CAST(ts AS TIMESTAMP WITH TIME ZONE))"
	}
	return `
CREATE MACRO shop_currency() AS (` + currency + `);
CREATE MACRO business_day(ts) AS (CAST(` + day + ` AS DATE));
CREATE MACRO _unscaled(v) AS (CAST(CAST(v AS DECIMAL(38,8)) * CAST(100000000 AS DECIMAL(9,0)) AS HUGEINT));
CREATE MACRO _drop_digit(v) AS ((v + 5 * sign(v)) // 10);
CREATE MACRO _ten_to(n) AS (CASE n WHEN 0 THEN 1 WHEN 1 THEN 10 WHEN 2 THEN 100 WHEN 3 THEN 1000 WHEN 4 THEN 10000
  WHEN 5 THEN 100000 WHEN 6 THEN 1000000 WHEN 7 THEN 10000000 WHEN 8 THEN 100000000 WHEN 9 THEN 1000000000
  ELSE error('div_exact: places must be 0 to 8') END);
CREATE MACRO quotient(a, b) AS (CAST(
  CAST(_drop_digit(_unscaled(a) * 10000000 // _unscaled(b)) AS DECIMAL(38,0)) * CAST(0.000001 AS DECIMAL(7,6))
  AS DECIMAL(38,6)));
CREATE MACRO div_exact(a, b, places) AS (CAST(
  CAST(_drop_digit(_unscaled(a) * _ten_to(places + 1) // _unscaled(b)) * _ten_to(8 - places) AS DECIMAL(38,0))
  * CAST(0.00000001 AS DECIMAL(9,8)) AS DECIMAL(38,8)));
SELECT business_day(TIMESTAMP WITH TIME ZONE '2000-01-01 00:00:00+00');
`
}
