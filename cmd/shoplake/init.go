package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/pipelines"
)

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:     "init DIR",
		Short:   "Copy the shipped e-commerce pipeline into a folder, to change it",
		Example: "  shoplake init my-shop",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			n, err := copyPipeline(pipelines.Ecommerce, dir)
			if err != nil {
				return fmt.Errorf("copy the pipeline to %s: %w", dir, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `%d files are in %s. What next:
  shoplake pipeline check %[2]s       every fault at once, with file and line
  shoplake serve --pipeline %[2]s     start a server with it
`, n, dir)
			return err
		},
	}
}

// copyPipeline writes the files into a folder that is empty or not there yet.
func copyPipeline(from fs.FS, dir string) (files int, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return 0, errors.New("the folder is not empty; name another, or remove what is in it")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	err = fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		files++
		return os.WriteFile(to, b, 0o644)
	})
	return files, err
}
