"""Runs the pipeline's SQL in a DuckDB of this process, so that its tables and KPIs can be held against the reference.

Tables are built whole, or partition by partition from restricted inputs as the workers do it.
"""

import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "ecommerce"
SOURCE_DAYS = {"bronze.orders": "order_date", "bronze.inventory": "snapshot_date", "bronze.user_activity": "event_date"}
TABLE = re.compile(r"\b(?:bronze|silver|gold)\.[a-z_]+")
TRANSFORM = re.compile(r"(?:(month)\()?([a-z_]+)\)?")

BRONZE = {
    "orders": """
        order_id VARCHAR, line_number BIGINT, order_time TIMESTAMPTZ, updated_at TIMESTAMPTZ, customer_id VARCHAR,
        customer_email VARCHAR, country VARCHAR, payment_method VARCHAR, city VARCHAR, product_id VARCHAR, quantity BIGINT,
        unit_price DECIMAL(18,4), discount DECIMAL(18,4), currency VARCHAR, status VARCHAR, order_date DATE""",
    "inventory": """
        snapshot_date DATE, product_id VARCHAR, sku VARCHAR, product_name VARCHAR, category VARCHAR, warehouse VARCHAR,
        subcategory VARCHAR, brand VARCHAR, unit_cost DECIMAL(18,4), list_price DECIMAL(18,4), stock_on_hand BIGINT,
        reorder_level BIGINT, last_restocked DATE""",
    "user_activity": """
        event_id VARCHAR, event_time TIMESTAMPTZ, user_id VARCHAR, session_id VARCHAR, event_type VARCHAR,
        product_id VARCHAR, order_id VARCHAR, country VARCHAR, page_url VARCHAR, referrer VARCHAR, device VARCHAR,
        search_query VARCHAR, properties VARCHAR, event_date DATE""",
}
SYSTEM = """, _source_file VARCHAR, _row_number BIGINT, _ingested_at TIMESTAMPTZ, _run_id VARCHAR,
        _contract_version VARCHAR, _extra VARCHAR"""


class Header:
    """The `-- key: value` lines at the top of an SQL file."""

    def __init__(self, path):
        self.name = path.stem
        self.table = f"{path.parent.name}.{path.stem}"
        self.values, self.subjects, lines = {}, {}, path.read_text().split("\n")
        while lines[0].startswith("-- "):
            key, value = lines.pop(0)[3:].split(":", 1)
            key, _, subject = key.partition(" ")
            if subject:
                self.subjects.setdefault(key, {})[subject] = value.strip()
            else:
                self.values[key] = value.strip()
        self.sql = "\n".join(lines)
        statement = re.sub(r"--.*", "", self.sql)
        self.inputs = sorted(set(TABLE.findall(statement)))
        self.key = [column.strip() for column in self.values.get("key", "").split(",")]
        self.month, self.column = TRANSFORM.fullmatch(self.values["partition"]).groups() if "partition" in self.values else (None, None)

    def partition_of(self, column):
        return f"strftime({column}, '%Y-%m')" if self.month else f"{column}::VARCHAR"


def load(folder):
    return {header.table: header for header in map(Header, sorted((FOLDER / folder).glob("*.sql")))}


def models():
    """The models, inputs first."""
    waiting, ordered = load("silver") | load("gold"), []
    while waiting:
        ready = [m for m in waiting.values() if not any(table in waiting for table in m.inputs)]
        if not ready:
            raise ValueError(f"a cycle among {sorted(waiting)}")
        for model in ready:
            ordered.append(waiting.pop(model.table))
    return ordered


# Exact as long as 10^6 times the divisor has 34 digits before the point, which is plenty here; the engine's own has no bound.
QUOTIENT = """
CREATE MACRO scaled(amount) AS (amount::DECIMAL(30, 4) * 10000::DECIMAL(5, 0))::HUGEINT;
CREATE MACRO rounded(a, b) AS a // b * 1000000 + (a % b * 2000000 + b) // (2 * b);
CREATE MACRO quotient(a, b) AS CASE WHEN b <> 0 THEN (
    sign(a)::INTEGER * sign(b)::INTEGER
    * rounded(abs(scaled(a)), abs(scaled(b)))::DECIMAL(30, 0) * 0.000001::DECIMAL(7, 6)
)::DECIMAL(38, 6) END
"""


def connect(duckdb, currency="EUR"):
    """A session with the macros that the engine gives."""
    session = duckdb.connect()
    session.execute("SET timezone = 'UTC'")
    session.execute("CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold")
    session.execute(f"CREATE MACRO shop_currency() AS '{currency}'")
    session.execute(QUOTIENT)
    for name, columns in BRONZE.items():
        session.execute(f"CREATE TABLE bronze.{name} ({columns}{SYSTEM})")
    return session


def build_whole(session):
    for model in models():
        session.execute(f"CREATE OR REPLACE TABLE {model.table} AS {model.sql}")


def _statement(model, restricted):
    return TABLE.sub(lambda match: restricted.get(match.group(), match.group()), model.sql)


def _restriction(session, model, table, days, partition):
    """The rows of an input that a task for one partition is given."""
    relation = model.subjects.get("input", {}).get(table, "")
    if relation in ("all", "lookup") or relation.startswith("asof"):
        return table
    declared = re.fullmatch(r"same\((.*)\)", relation)
    day = declared.group(1) if declared else days.get(table)
    if not day:
        return table
    inside = f"{model.partition_of(day)} = '{partition}'"
    reach = re.fullmatch(r"any(?: by (.*))?", model.values.get("reach", "none"))
    if not reach:
        return f"(SELECT * FROM {table} WHERE {inside})"
    by = reach.group(1) or ", ".join(
        column for column in model.key if column in {row[0] for row in session.execute(f"DESCRIBE {table}").fetchall()}
    )
    return f"(SELECT * FROM {table} WHERE ({by}) IN (SELECT ({by}) FROM {table} WHERE {inside}))"


def build_by_partition(session):
    """Builds every table a partition at a time."""
    days = dict(SOURCE_DAYS)
    for model in models():
        session.execute(f"CREATE OR REPLACE TABLE {model.table} AS SELECT * FROM ({model.sql}) LIMIT 0")
        if model.column:
            days[model.table] = model.column
            inputs = [table for table in model.inputs if _restriction(session, model, table, days, "") != table]
            found = set()
            for table in inputs:
                relation = model.subjects.get("input", {}).get(table, "")
                day = (re.fullmatch(r"same\((.*)\)", relation) or [None, days[table]])[1]
                found |= {row[0] for row in session.execute(f"SELECT DISTINCT {model.partition_of(day)} FROM {table}").fetchall()}
        else:
            inputs, found = [], {None}
        for partition in sorted(found, key=str):
            restricted = {table: _restriction(session, model, table, days, partition) for table in inputs}
            inside = f"WHERE {model.partition_of(model.column)} = '{partition}'" if model.column else ""
            session.execute(f"INSERT INTO {model.table} SELECT * FROM ({_statement(model, restricted)}) {inside}")


def query(session, name, **params):
    """The rows of a KPI as dicts."""
    sql = Header(FOLDER / "kpis" / f"{name}.sql").sql
    used = {key: value for key, value in params.items() if re.search(rf"\${key}\b", sql)}
    cursor = session.execute(sql, used)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row)) for row in cursor.fetchall()]


def failing_checks(session, severity):
    """The checks of a severity that find a row, with the first."""
    failed = {}
    for check in load("checks").values():
        if check.values["severity"] == severity:
            row = session.execute(check.sql).fetchone()
            if row:
                failed[check.name] = row
    return failed
