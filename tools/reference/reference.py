#!/usr/bin/env python3
"""Computes what the e-commerce pipeline must give, from raw files, with nothing but Python's standard library.

It shares no code and no query with the program, so that one can be judged by the other:

    python3 tools/reference/reference.py DIR/landing --from 2026-01-01 --to 2026-02-01

prints one JSON document: what was read of each source, and the rows of each KPI. Decimals are JSON numbers with all
their places. --tables adds the rows of silver and gold.
"""

import argparse
import datetime
import decimal
import json
import os
import sys

import kpis
import sources
import tables


def dump(value):
    """JSON with decimals as exact numbers."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{dump(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return dump(sorted(value))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dump(member) for member in value) + "]"
    if isinstance(value, datetime.datetime):
        return json.dumps(value.isoformat())
    if isinstance(value, datetime.date):
        return json.dumps(value.isoformat())
    if isinstance(value, bytes):
        return json.dumps(os.fsdecode(value))
    return json.dumps(value)


def build(folder, zone="UTC", currency="EUR", now=None):
    """Reads a landing folder; returns the sources by name, and the tables."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    read = {name: sources.read(name, os.path.join(folder, name), zone, now) for name in sources.KINDS}
    return read, tables.Tables({name: source.bronze for name, source in read.items()}, currency)


def keyed(rows, *names):
    return [dict(zip(names, key if isinstance(key, tuple) else (key,))) | row for key, row in sorted(rows.items())]


def table_rows(built):
    return {
        "silver.orders": built.orders,
        "silver.user_activity": built.user_activity,
        "silver.inventory": built.inventory,
        "gold.dim_product": keyed(built.dim_product, "product_id"),
        "gold.dim_customer": keyed(built.dim_customer, "customer_id"),
        "gold.dim_date": [{"day": day} for day in built.dim_date],
        "gold.fact_order_line": built.fact_order_line,
        "gold.fact_session": [{k: v for k, v in row.items() if k != "types"} for row in built.fact_session],
        "gold.fact_inventory": keyed(built.fact_inventory, "snapshot_date", "product_id"),
        "gold.kpi_daily_sales": keyed(built.kpi_daily_sales, "day", "product_id", "currency"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landing", help="folder that holds orders/, inventory/ and user_activity/")
    parser.add_argument("--from", dest="start", type=datetime.date.fromisoformat, help="first business day")
    parser.add_argument("--to", dest="end", type=datetime.date.fromisoformat, help="the day after the last")
    parser.add_argument("--limit", type=int, default=10, help="top products a currency (10)")
    parser.add_argument("--time-zone", default="UTC", help="the pipeline's time zone (UTC)")
    parser.add_argument("--currency", default="EUR", help="the shop's currency (EUR)")
    parser.add_argument("--now", type=datetime.datetime.fromisoformat, help="time of ingestion, with its zone (now)")
    parser.add_argument("--tables", action="store_true", help="print the rows of silver and gold too")
    options = parser.parse_args()

    read, built = build(options.landing, options.time_zone, options.currency, options.now)
    document = {
        "sources": {name: source.report() for name, source in read.items()},
        "kpis": kpis.Kpis(built, options.start, options.end).all(options.limit),
    }
    if options.tables:
        document["tables"] = table_rows(built)
    sys.stdout.write(dump(document) + "\n")


if __name__ == "__main__":
    main()
