"""Holds the pipeline's SQL against the reference, on random rows. Needs the package duckdb."""

import datetime
import json
import os
import random
import unittest

import kpis
import random_bronze
import tables
import values

try:
    import duckdb
except ImportError:
    duckdb = None

ROUNDS = int(os.environ.get("ROUNDS", "6"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


def ranges(chance):
    """Ranges of days to ask for: unbounded, half bounded, months, single days, empty and far away ones."""
    first = random_bronze.START.date()
    some = [first + datetime.timedelta(days=chance.randrange(-20, random_bronze.DAYS + 60)) for _ in range(8)]
    found = [(None, None), (some[0], None), (None, some[1]), (datetime.date(2025, 12, 1), datetime.date(2026, 1, 1))]
    found += [(min(pair), max(pair)) for pair in ((some[2], some[3]), (some[4], some[5]))]
    found += [(some[6], some[6] + datetime.timedelta(days=1)), (some[7], some[7]), (datetime.date(2031, 1, 1), None)]
    return found


@unittest.skipUnless(duckdb, "the package duckdb is not installed")
class Models(unittest.TestCase):
    maxDiff = None

    def compare(self, name, got, want):
        self.assertEqual(len(got), len(want), f"{name}: rows\n{got[:5]}\n{want[:5]}")
        for position, (row, wanted) in enumerate(zip(got, want)):
            self.assertEqual(list(row), list(wanted), f"{name}: columns")
            self.assertEqual(row, wanted, f"{name}: row {position}")
            for column, value in wanted.items():
                self.assertEqual(str(row[column]), str(value), f"{name}: row {position}, {column}")

    def rows(self, session, sql):
        # Moments come as microseconds: duckdb needs another package to make Python's of them.
        times = [row[0] for row in session.execute(f"DESCRIBE {sql}").fetchall() if row[1] == "TIMESTAMP WITH TIME ZONE"]
        cursor = session.execute(f"SELECT * REPLACE ({', '.join(f'epoch_us({t}) AS {t}' for t in times)}) FROM ({sql})" if times else sql)
        columns = [column[0] for column in cursor.description]
        moment = lambda value: values.EPOCH + datetime.timedelta(microseconds=value)
        return [{c: moment(v) if c in times else v for c, v in zip(columns, row)} for row in cursor.fetchall()]

    def compare_tables(self, session, built):
        lines = self.rows(session, "SELECT * FROM gold.fact_order_line ORDER BY order_id, line_number")
        self.assertEqual(lines, built.fact_order_line)
        sessions = self.rows(session, "SELECT * FROM gold.fact_session ORDER BY session_id, session_number")
        self.assertEqual(sessions, [{k: v for k, v in row.items() if k != "types"} for row in built.fact_session])
        stock = self.rows(session, "SELECT * FROM gold.fact_inventory")
        self.assertEqual({(row.pop("snapshot_date"), row.pop("product_id")): row for row in stock}, built.fact_inventory)
        products = self.rows(session, "SELECT * FROM gold.dim_product")
        self.assertEqual({row.pop("product_id"): row for row in products}, built.dim_product)
        sales = self.rows(session, "SELECT * FROM gold.kpi_daily_sales")
        self.assertEqual(
            {(row.pop("day"), row.pop("product_id"), row.pop("currency")): row for row in sales}, built.kpi_daily_sales
        )
        customers = self.rows(session, "SELECT * FROM gold.dim_customer")
        for row in customers:
            revenue = json.loads(row["lifetime_revenue"], parse_float=kpis.decimal.Decimal)
            self.assertEqual(list(revenue), sorted(revenue))
            row["lifetime_revenue"] = revenue
        self.assertEqual({row.pop("customer_id"): row for row in customers}, built.dim_customer)
        days = self.rows(session, "SELECT day FROM gold.dim_date ORDER BY day")
        self.assertEqual([row["day"] for row in days], built.dim_date)

    def insert(self, session, bronze):
        for name, rows in bronze.items():
            columns = [row[0] for row in session.execute(f"DESCRIBE bronze.{name}").fetchall()]
            if rows:
                marks = ", ".join("?" for _ in columns)
                session.executemany(
                    f"INSERT INTO bronze.{name} VALUES ({marks})",
                    [[os.fsdecode(v) if isinstance(v := row.get(c), bytes) else v for c in columns] for row in rows],
                )

    def check_round(self, seed):
        import models

        chance = random.Random(seed)
        zone = chance.choice(["UTC", "Europe/Berlin", "America/New_York"])
        bronze = random_bronze.bronze(chance, zone)
        built = tables.Tables(bronze, "EUR")
        for build in (models.build_whole, models.build_by_partition):
            session = models.connect(duckdb)
            self.insert(session, bronze)
            build(session)
            with self.subTest(seed=seed, build=build.__name__):
                self.compare_tables(session, built)
                self.assertEqual(models.failing_checks(session, "error"), {})
                warnings = models.failing_checks(session, "warn")
                self.assertFalse(warnings.keys() & {"order_lines_complete", "session_events"}, warnings)
        for start, end in ranges(chance):
            want = kpis.Kpis(built, start, end).all(limit := chance.choice([0, 1, 3, 10]))
            for name in kpis.NAMES:
                with self.subTest(seed=seed, kpi=name, start=start, end=end):
                    got = models.query(session, name, **{"from": start, "to": end, "limit": limit})
                    self.compare(name, got, want[name])
        session.close()

    def test_random(self):
        print(f"SEED={SEED} ROUNDS={ROUNDS}")
        for offset in range(ROUNDS):
            self.check_round(SEED + offset)

    def test_types(self):
        """Counts are BIGINT, amounts keep 4 places and quotients 6."""
        import models

        session = models.connect(duckdb)
        models.build_whole(session)
        for model in models.models():
            for column, kind in session.execute(f"SELECT column_name, column_type FROM (DESCRIBE {model.table})").fetchall():
                self.assertNotIn(kind, ("HUGEINT", "DOUBLE"), f"{model.table}.{column}")
        for name in kpis.NAMES:
            sql = models.Header(models.FOLDER / "kpis" / f"{name}.sql").sql
            for param in ("from", "to", "limit"):
                sql = sql.replace(f"${param}", "NULL")
            for column, kind in session.execute(f"SELECT column_name, column_type FROM (DESCRIBE {sql})").fetchall():
                self.assertIn(kind, ("VARCHAR", "BIGINT", "DATE", "BOOLEAN", "DECIMAL(38,4)", "DECIMAL(38,6)"), f"{name}.{column}")


if __name__ == "__main__":
    unittest.main()
