package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

func newPipeline() *cobra.Command {
	return parent("pipeline", "Check a pipeline folder, and see or change which one a server uses",
		newPipelineCheck(), newPipelineActivate(), newPipelineList())
}

func newPipelineCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check DIR",
		Short:   "Find every fault of a pipeline folder at once, each with file and line; no server is needed",
		Example: "  shoplake pipeline check my-shop",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := checkFolder(cmd, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is well: pipeline %s, %s, %s, %s, %s, %s (time zone %s, currency %s)\n", args[0], p.Name,
				plural(int64(len(p.Sources)), "source"), plural(int64(len(p.Models)), "model"), plural(int64(len(p.KPIs)), "KPI"),
				plural(int64(len(p.Checks)), "check"), plural(int64(len(p.Flows)), "flow"), p.TimeZone, p.Currency)
			return err
		},
	}
}

// checkFolder loads a folder; its faults are printed, a line each, with the path as it was given.
func checkFolder(cmd *cobra.Command, dir string) (*pipeline.Pipeline, error) {
	folder, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	p, err := pipelinestore.Check(cmd.Context(), folder)
	var faults pipeline.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			if f.File != "" {
				f.File = filepath.Join(dir, filepath.FromSlash(f.File))
			}
			fmt.Fprintln(cmd.ErrOrStderr(), f)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s in %s\n", plural(int64(len(faults)), "fault"), dir)
		return nil, silentError{}
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", dir, err)
	}
	return p, nil
}

// openFolder refuses what is not a folder, which os.DirFS would only notice later.
func openFolder(dir string) (fs.FS, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open the pipeline folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the pipeline folder: %s is a file: give the folder that holds pipeline.yaml", dir)
	}
	return os.DirFS(dir), nil
}

func newPipelineActivate() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "activate DIR",
		Short:   "Send a pipeline folder to the server and use it for new runs",
		Example: "  shoplake pipeline activate my-shop",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := checkFolder(cmd, args[0])
			if err != nil {
				return err
			}
			req := &shoplakev1.CreatePipelineRequest{}
			for path, content := range p.Files {
				req.Files = append(req.Files, &shoplakev1.PipelineFile{Path: path, Content: content})
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				stored, err := c.Pipelines.CreatePipeline(ctx, req)
				if err != nil {
					return fmt.Errorf("send the pipeline %s: %w", args[0], err)
				}
				active, err := c.Pipelines.ActivatePipeline(ctx, &shoplakev1.ActivatePipelineRequest{Name: stored.GetName()})
				if err != nil {
					return fmt.Errorf("activate %s: %w", stored.GetName(), err)
				}
				return out.print(cmd.OutOrStdout(), pipelineGrid(active))
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func newPipelineList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the pipelines that the server holds",
		Example: "  shoplake pipeline list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				all := pipelineGrid()
				err := pages(0, func(token string, size int32) (string, int, error) {
					resp, err := c.Pipelines.ListPipelines(ctx, &shoplakev1.ListPipelinesRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list pipelines: %w", err)
					}
					all.rows = append(all.rows, pipelineGrid(resp.GetPipelines()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetPipelines()), nil
				})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), all)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func pipelineGrid(list ...*shoplakev1.Pipeline) *grid {
	g := &grid{columns: columns("pipeline", "title", "time_zone", "currency", "active", "create_time")}
	for _, p := range list {
		g.add(strings.TrimPrefix(p.GetName(), "pipelines/"), p.GetTitle(), p.GetTimeZone(), p.GetCurrency(), p.GetActive(), at(p.GetCreateTime()))
	}
	return g
}
