package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/client"
)

// explain writes an error for a person: what failed, each fault that the server found, and what to do next.
func explain(w io.Writer, cmd *cobra.Command, err error) {
	var (
		carrier interface{ GRPCStatus() *status.Status }
		failed  *client.RunFailedError
		usage   usageError
	)
	switch {
	case errors.As(err, &failed):
		fmt.Fprintf(w, "Error: %s\n", failed)
		fmt.Fprintf(w, "See its stages with: shoplake runs get %s\n", id(failed.Run.GetName()))
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(w, "Interrupted.")
	case errors.As(err, &carrier):
		st := carrier.GRPCStatus()
		// The text of a gRPC error begins with its code; the message alone reads better.
		text := err.Error()
		if inner, ok := carrier.(error); ok {
			text = strings.Replace(text, inner.Error(), st.Message(), 1)
		}
		fmt.Fprintf(w, "Error: %s\n", text)
		details(w, st)
		if h := hint(cmd, st.Code()); h != "" {
			fmt.Fprintln(w, h)
		}
	case errors.As(err, &usage), isUsage(err):
		fmt.Fprintf(w, "Error: %s\nSee: %s --help\n", err, cmd.CommandPath())
	default:
		fmt.Fprintf(w, "Error: %s\n", err)
	}
}

// isUsage recognises cobra's own complaints about a command line, which have no type.
func isUsage(err error) bool {
	for _, begin := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "invalid argument", "flag needs", "required flag"} {
		if strings.HasPrefix(err.Error(), begin) {
			return true
		}
	}
	return false
}

func details(w io.Writer, st *status.Status) {
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				fmt.Fprintf(w, "  %s: %s\n", v.GetField(), v.GetDescription())
			}
		case *errdetails.PreconditionFailure:
			for _, v := range d.GetViolations() {
				fmt.Fprintf(w, "  %s: %s\n", v.GetSubject(), v.GetDescription())
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(w, "  try again in %s\n", d.GetRetryDelay().AsDuration())
		case *errdetails.Help:
			for _, l := range d.GetLinks() {
				fmt.Fprintf(w, "  %s: %s\n", l.GetDescription(), l.GetUrl())
			}
		}
	}
}

// hint says what to do about a code, where the server cannot know or did not get to speak.
func hint(cmd *cobra.Command, code codes.Code) string {
	server := client.DefaultAddress
	if f := cmd.Flags().Lookup("server"); f != nil {
		server = f.Value.String()
	}
	switch code {
	case codes.Unavailable:
		return fmt.Sprintf("No server answers at %s. Start one with: shoplake serve. Or name another by --server or SHOPLAKE_SERVER.", server)
	case codes.Unauthenticated:
		return "Give a token by SHOPLAKE_TOKEN or --token."
	case codes.PermissionDenied:
		return "The token's role does not allow it: ask for one with a wider role."
	case codes.DeadlineExceeded:
		return fmt.Sprintf("The server at %s did not answer in time: see its log, and: shoplake health", server)
	case codes.Unimplemented:
		return fmt.Sprintf("The server at %s does not know this call: is it an older version? See: shoplake health", server)
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return "This is a fault of the program: the server's log says more."
	default:
		return ""
	}
}

// id is the last part of a resource's name.
func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
