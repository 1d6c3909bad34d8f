"""The three sources: their columns and rules, and how a record becomes a row of bronze or of quarantine."""

import collections
import datetime
import decimal
import os
import re

import landing
import values
from values import Broken

EVENT_TYPES = ("page_view", "product_view", "search", "add_to_cart", "remove_from_cart", "checkout", "purchase")
PRODUCT_EVENTS = ("product_view", "add_to_cart", "remove_from_cart")
STATUSES = ("placed", "paid", "shipped", "delivered", "cancelled", "returned")
FUTURE = datetime.timedelta(hours=24)
ZERO = decimal.Decimal("0.0000")

TWO_LETTERS = re.compile(r"[A-Za-z]{2}")
THREE_LETTERS = re.compile(r"[A-Za-z]{3}")


class Row:
    """Checks one record: get() reads a cell, and notes what it breaks."""

    def __init__(self, cells, zone):
        self.cells, self.zone = cells, zone
        self.rules, self.broken, self.values = [], set(), {}

    def breaks(self, check, column):
        self.rules.append(f"{check}:{column}")
        self.broken.add(column)
        self.values[column] = None

    def get(self, column, read, required=False):
        cell = values.clean(self.cells.get(column))
        if cell is None:
            self.values[column] = None
            if required:
                self.breaks("required", column)
            return None
        try:
            self.values[column] = read(cell)
        except Broken as broken:
            self.breaks(broken.check, column)
        return self.values[column]

    def text(self, column, required=False):
        return self.get(column, values.string, required)

    def enum(self, column, allowed):
        value = self.get(column, values.string, required=True)
        if value is not None:
            value = self.values[column] = value.lower()
            if value not in allowed:
                self.breaks("enum", column)

    def code(self, column, pattern, required=False):
        value = self.get(column, values.string, required)
        if value is not None:
            if pattern.fullmatch(value):
                self.values[column] = value.upper()
            else:
                self.breaks("pattern", column)

    def moment(self, column, required=False):
        return self.get(column, lambda cell: values.local_time(cell, self.zone), required)

    def number(self, column, read, least):
        value = self.get(column, read, required=True)
        if value is not None and value < least:
            self.breaks("range", column)


def check_order(row):
    row.text("order_id", required=True)
    row.number("line_number", values.integer, 1)
    row.moment("order_time", required=True)
    row.moment("updated_at")
    if row.values["updated_at"] is None and "updated_at" not in row.broken:
        row.values["updated_at"] = row.values["order_time"]
    for column in ("customer_id", "customer_email", "country", "payment_method", "city"):
        row.text(column)
    country = row.values["country"]
    if country is not None and TWO_LETTERS.fullmatch(country):
        row.values["country"] = country.upper()
    row.text("product_id", required=True)
    row.number("quantity", values.integer, 1)
    row.number("unit_price", values.amount, 0)
    discount = row.get("discount", values.amount)
    if discount is None and "discount" not in row.broken:
        discount = row.values["discount"] = ZERO
    if discount is not None:
        quantity, unit_price = row.values["quantity"], row.values["unit_price"]
        known = quantity is not None and unit_price is not None
        if discount < 0 or (known and discount > quantity * unit_price):
            row.breaks("range", "discount")
    row.code("currency", THREE_LETTERS, required=True)
    row.enum("status", STATUSES)
    if row.values["order_time"] is not None:
        row.values["order_date"] = values.business_day(row.values["order_time"], row.zone)


def check_activity(row, now):
    row.text("event_id", required=True)
    event_time = row.get("event_time", values.instant, required=True)
    if event_time is not None and event_time > now + FUTURE:
        row.breaks("future", "event_time")
    for column in ("user_id", "page_url", "referrer", "device", "search_query"):
        row.text(column)
    row.text("session_id", required=True)
    row.enum("event_type", EVENT_TYPES)
    event_type = row.values["event_type"]
    row.text("product_id", required=event_type in PRODUCT_EVENTS)
    row.text("order_id", required=event_type == "purchase")
    row.code("country", TWO_LETTERS)
    row.get("properties", values.json_object)
    if row.values["event_time"] is not None:
        row.values["event_date"] = values.business_day(row.values["event_time"], row.zone)


def check_inventory(row):
    snapshot_date = row.get("snapshot_date", values.date, required=True)
    for column in ("product_id", "sku", "product_name", "category", "warehouse"):
        row.text(column, required=True)
    row.text("subcategory")
    row.text("brand")
    row.number("unit_cost", values.amount, 0)
    row.number("list_price", values.amount, 0)
    row.number("stock_on_hand", values.integer, 0)
    row.number("reorder_level", values.integer, 0)
    last_restocked = row.get("last_restocked", values.date)
    if last_restocked is not None and snapshot_date is not None and last_restocked > snapshot_date:
        row.breaks("range", "last_restocked")


KINDS = {
    "orders": (".csv",),
    "inventory": (".xlsx",),
    "user_activity": (".ndjson", ".jsonl", ".json"),
}


class Source:
    """What was read of a source: rows of bronze, and how many broke which rule."""

    def __init__(self, name):
        self.name = name
        self.rows_read = self.rows_quarantined = 0
        self.rules = collections.Counter()
        self.bronze = []
        self.unreadable = []

    def quarantine(self, rules):
        self.rows_quarantined += 1
        self.rules.update(rules)

    def report(self):
        return {
            "rows_read": self.rows_read,
            "rows_bronze": len(self.bronze),
            "rows_quarantined": self.rows_quarantined,
            "rules": dict(sorted(self.rules.items())),
        }


def check(name, cells, zone, now):
    """The values and broken rules of one record."""
    row = Row(cells, zone)
    if name == "orders":
        check_order(row)
    elif name == "inventory":
        check_inventory(row)
    else:
        check_activity(row, now)
    return row.values, row.rules


def read(name, folder, zone, now):
    """Reads all files of a source."""
    source = Source(name)
    for file in landing.files(folder):
        try:
            records = list(landing.records(folder, file, KINDS[name]))
        except landing.Unreadable:
            source.rows_read += 1
            source.unreadable.append(file)
            source.quarantine(["unreadable_file"])
            continue
        for record in records:
            source.rows_read += 1
            if record.rule:
                source.quarantine([record.rule])
                continue
            row, rules = check(name, record.cells, zone, now)
            if rules:
                source.quarantine(rules)
                continue
            row["_source_file"], row["_row_number"] = os.fsencode(file), record.number
            source.bronze.append(row)
    return source
