package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Connect to a server on this machine, or elsewhere with TLS and a token.
func ExampleDial() {
	ctx := context.Background()
	c, err := client.Dial(ctx, "127.0.0.1:1")
	if err != nil {
		fmt.Println("no server there")
		return
	}
	defer c.Close()
	// Elsewhere: client.Dial(ctx, "lake.example.com:8501", client.WithToken(token))

	// Output: no server there
}

// Submit a run and wait until it has ended. The watch survives a restart of the server.
func ExampleClient_WaitRun() {
	ctx := context.Background()
	c, stop := dialFake(&fake{})
	defer stop()

	run, err := c.Submit(ctx, "daily", client.SubmitOptions{From: client.NewDate(2026, 1, 1)})
	if err != nil {
		log.Fatal(err)
	}
	run, err = c.WaitRun(ctx, run.GetName(), func(u client.Update) {
		if u.Lost != nil {
			fmt.Println("connection lost, trying again")
			return
		}
		for _, s := range u.Stages {
			fmt.Println(s.GetTable(), s.GetState())
		}
	})
	var failed *client.RunFailedError
	switch {
	case errors.As(err, &failed):
		fmt.Println("failed in", failed.Run.GetError().GetStage())
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(run.GetState())
	}
	// Output:
	// bronze.orders STAGE_STATE_RUNNING
	// silver.orders STAGE_STATE_WAITING
	// connection lost, trying again
	// bronze.orders STAGE_STATE_SUCCEEDED
	// silver.orders STAGE_STATE_SUCCEEDED
	// RUN_STATE_SUCCEEDED
}

// Read a KPI into structs of your own. Amounts are exact; a column that may be null is a pointer.
func ExampleQuery() {
	type revenue struct {
		Currency string          `shoplake:"currency"`
		Revenue  client.Decimal  `shoplake:"revenue"`
		Orders   int64           `shoplake:"orders"`
		Average  *client.Decimal `shoplake:"average_order_value"`
	}
	ctx := context.Background()
	c, stop := dialFake(&fake{})
	defer stop()

	rows, err := client.Query[revenue](ctx, c, "total_revenue", client.KPIQuery{
		From: client.NewDate(2026, 1, 1),
		To:   client.NewDate(2026, 2, 1),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows {
		average := "no orders"
		if r.Average != nil {
			average = r.Average.Round(2).String()
		}
		fmt.Println(r.Currency, r.Revenue, r.Orders, average)
	}
	// Output:
	// EUR 1234.5000 17 72.62
	// USD 0.0000 0 no orders
}

// Read a KPI without knowing its columns beforehand.
func ExampleClient_QueryRows() {
	ctx := context.Background()
	c, stop := dialFake(&fake{})
	defer stop()

	rows, err := c.QueryRows(ctx, "total_revenue", client.KPIQuery{})
	if err != nil {
		log.Fatal(err)
	}
	for i := range rows.Len() {
		values, err := rows.Values(i)
		if err != nil {
			log.Fatal(err)
		}
		for j, col := range rows.Columns() {
			fmt.Printf("%s: %v\n", col.GetName(), values[j])
		}
	}
	// Output:
	// currency: EUR
	// revenue: 1234.5000
	// orders: 17
	// average_order_value: 72.617647
	// currency: USD
	// revenue: 0.0000
	// orders: 0
	// average_order_value: <nil>
}

// Read a KPI as Arrow record batches.
func ExampleClient_QueryArrow() {
	ctx := context.Background()
	c, stop := dialFake(&fake{})
	defer stop()

	records, err := c.QueryArrow(ctx, "total_revenue", client.KPIQuery{})
	if err != nil {
		log.Fatal(err)
	}
	defer records.Release()
	fmt.Println(records.Schema.Field(0).Name, records.Rows())
	for _, batch := range records.Batches {
		fmt.Println(batch.Column(0))
	}
	// Output:
	// currency 2
	// ["EUR"]
	// ["USD"]
}

// Every method of the API can be called through the generated clients.
func ExampleClient() {
	ctx := context.Background()
	c, stop := dialFake(&fake{})
	defer stop()

	_, err := c.KPIs.QueryKpi(ctx, &shoplakev1.QueryKpiRequest{Name: "kpis/unknown"})
	fmt.Println(err)
	// Output: rpc error: code = NotFound desc = no KPI kpis/unknown
}
