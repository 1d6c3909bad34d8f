package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/joho/godotenv"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/shoplake/shoplake/client"
)

const envPrefix = "SHOPLAKE"

// configure gives every flag of a command its value: what was typed, else the environment's, else the file's, else the
// default. It sets the flags themselves, so that a wrong value is refused by the flag's type wherever it comes from.
func configure(cmd *cobra.Command) error {
	if err := godotenv.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read .env: %w", err)
	}
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(cmd.Flags()); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if file := v.GetString("config"); file != "" {
		v.SetConfigFile(file)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			return fmt.Errorf("read settings from %s: %w", file, err)
		}
		if err := checkKeys(cmd.Root(), v); err != nil {
			return fmt.Errorf("read settings from %s: %w", file, err)
		}
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "config" || !v.IsSet(f.Name) {
			return
		}
		value := v.GetString(f.Name)
		if day, ok := v.Get(f.Name).(time.Time); ok {
			// YAML takes a bare 2026-01-01 for a time.
			value = day.Format(time.DateOnly)
		}
		if value == f.DefValue || value == "" {
			return
		}
		if f.Value.Type() == "stringToString" {
			return
		}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			// A list in the file; in the environment words with spaces between.
			if err := many.Replace(v.GetStringSlice(f.Name)); err != nil {
				errs = append(errs, fmt.Errorf("setting %s: %w", f.Name, err))
			}
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			env := envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			errs = append(errs, fmt.Errorf("setting %s (or %s): %w", f.Name, env, err))
		}
	})
	return errors.Join(errs...)
}

// checkKeys refuses keys that no command knows: a misspelt one would be passed over silently.
func checkKeys(root *cobra.Command, v *viper.Viper) error {
	known := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(root)
	var errs []error
	for _, k := range v.AllKeys() {
		if v.InConfig(k) && !known[k] {
			errs = append(errs, fmt.Errorf("unknown setting %q: settings are named as the flags are (see --help)", k))
		}
	}
	return errors.Join(errs...)
}

// dateFlag is a business day, YYYY-MM-DD.
type dateFlag struct{ client.Date }

func (d *dateFlag) Set(s string) error {
	parsed, err := client.ParseDate(s)
	if err != nil {
		return err
	}
	d.Date = parsed
	return nil
}

func (*dateFlag) Type() string { return "date" }

// bytesFlag is a number of bytes with a unit, 4GiB; 0 is no limit of ours.
type bytesFlag int64

func (b *bytesFlag) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size such as 4GiB or 512MiB", s)
	}
	*b = bytesFlag(n)
	return nil
}

func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return strings.ReplaceAll(humanize.IBytes(uint64(*b)), " ", "")
}

func (*bytesFlag) Type() string { return "size" }

// choiceFlag is one of a few words.
type choiceFlag struct {
	value   string
	choices []string
}

func (c *choiceFlag) Set(s string) error {
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(c.choices, ", "))
	}
	c.value = s
	return nil
}

func (c *choiceFlag) String() string { return c.value }

func (c *choiceFlag) Type() string { return strings.Join(c.choices, "|") }

// span is --from and --to.
type span struct{ from, to dateFlag }

func (s *span) flags(cmd *cobra.Command) {
	cmd.Flags().Var(&s.from, "from", "first business day, YYYY-MM-DD (default: from the beginning)")
	cmd.Flags().Var(&s.to, "to", "the business day after the last, YYYY-MM-DD (default: to the end)")
}

func (s *span) check() error {
	if !s.from.IsZero() && !s.to.IsZero() && !s.from.Time().Before(s.to.Time()) {
		return usageError{fmt.Errorf("--from %s is not before --to %s, which is the day after the last", s.from, s.to)}
	}
	return nil
}
