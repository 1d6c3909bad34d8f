package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const rootHelp = `Shoplake turns a shop's raw files into trusted tables and KPIs.

Start a server with "shoplake serve", drop files under DIR/landing/<source>/, bring everything up to date with
"shoplake run daily --wait", and read the results with "shoplake kpi total_revenue". "shoplake demo" shows it all.

Every flag can also be set by the environment (--data-dir as SHOPLAKE_DATA_DIR; a file .env in the working folder is
read) or in a YAML file given by --config (data-dir: ...). A flag wins over the environment, that over the file, and the
file over the default.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "shoplake",
		Short:         "Turns a shop's raw files into trusted tables and KPIs",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return configure(cmd)
		},
	}
	root.PersistentFlags().String("config", "", "YAML file with settings, named as the flags are")
	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Run flows and read results:"},
		&cobra.Group{ID: "pipeline", Title: "Pipelines and sample data:"},
		&cobra.Group{ID: "server", Title: "Servers:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("use", newRun(), newRuns(), newBackfill(), newKPI(), newTables(), newFiles(), newQuarantine(), newSQL(), newHealth(), newWorkers(), newFlows())
	add("pipeline", newInit(), newPipeline(), newGenerate())
	add("server", newServe(), newControlplane(), newWorker(), newDemo())
	root.AddCommand(newVersion())
	return root
}

// parent is a command that only holds others; alone or with a wrong word it says which there are.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
			}
			return cmd.Help()
		},
	}
	c.AddCommand(children...)
	return c
}

// usageError is a command line that cannot be understood; the help is what to read next.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }
