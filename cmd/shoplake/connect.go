package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
)

// connection is how a command finds the server.
type connection struct {
	server, token, ca string
	insecure          bool
}

func (c *connection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.server, "server", client.DefaultAddress, "the server, host:port")
	f.StringVar(&c.token, "token", "", "bearer token; better set as SHOPLAKE_TOKEN, where other users do not see it")
	f.StringVar(&c.ca, "tls-ca", "", "PEM file of certificates to trust instead of the system's; the server is dialled with TLS then")
	f.BoolVar(&c.insecure, "insecure", false, "dial a server on another machine without TLS")
}

func (c *connection) dial(ctx context.Context) (*client.Client, error) {
	var opts []client.Option
	if c.token != "" {
		opts = append(opts, client.WithToken(c.token))
	}
	if c.insecure {
		opts = append(opts, client.WithInsecure())
	}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("read the certificates to trust: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificates to trust: %s holds none in PEM form", c.ca)
		}
		opts = append(opts, client.WithTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	return client.Dial(ctx, c.server, opts...)
}

// with dials, calls f and closes the connection.
func (c *connection) with(cmd *cobra.Command, f func(context.Context, *client.Client) error) (err error) {
	conn, err := c.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return f(cmd.Context(), conn)
}
