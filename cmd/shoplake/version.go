package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version = ""

func newVersion() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version",
		Example: "  shoplake version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, revision := programVersion()
			g := &grid{columns: columns("version", "revision", "go", "platform")}
			g.add(v, nonEmpty(revision), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
			return out.print(cmd.OutOrStdout(), g)
		},
	}
	out.flags(cmd)
	return cmd
}

// programVersion is the release, or "devel" with the revision it was built from.
func programVersion() (release, revision string) {
	release = version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release, ""
	}
	if release == "" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		release = info.Main.Version
	}
	if release == "" {
		release = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return release, revision
}
