"""Silver and gold, from rows of bronze."""

import collections
import datetime
import decimal

REVENUE_STATUSES = ("paid", "shipped", "delivered")
GAP = datetime.timedelta(minutes=30)
UNKNOWN = "unknown"


def silver_orders(bronze):
    latest = {}
    for row in bronze:
        key = row["order_id"], row["line_number"]
        version = row["updated_at"], row["_source_file"], row["_row_number"]
        if key not in latest or version > latest[key][0]:
            latest[key] = version, row
    return [latest[key][1] for key in sorted(latest)]


def silver_user_activity(bronze):
    first = {}
    for row in bronze:
        key = row["event_id"]
        version = row["event_time"], row["_source_file"], row["_row_number"]
        if key not in first or version < first[key][0]:
            first[key] = version, row
    return [first[key][1] for key in sorted(first)]


def silver_inventory(bronze):
    latest = {}
    for row in bronze:
        key = row["snapshot_date"], row["product_id"], row["warehouse"]
        version = row["_source_file"], row["_row_number"]
        if key not in latest or version > latest[key][0]:
            latest[key] = version, row
    return [latest[key][1] for key in sorted(latest)]


class Tables:
    """All tables, built from bronze."""

    def __init__(self, bronze, currency):
        self.currency = currency
        self.orders = silver_orders(bronze["orders"])
        self.user_activity = silver_user_activity(bronze["user_activity"])
        self.inventory = silver_inventory(bronze["inventory"])
        self._snapshots()
        self._order_lines()
        self._customers()
        self._sessions()
        self._stock()
        self._daily_sales()
        self._days()

    def _snapshots(self):
        # Rows come sorted by day, product and warehouse: the first of a day and product is that of the first warehouse.
        self.snapshots = collections.defaultdict(dict)
        for row in self.inventory:
            self.snapshots[row["product_id"]].setdefault(row["snapshot_date"], row)
        columns = "sku product_name category subcategory brand unit_cost list_price snapshot_date".split()
        self.dim_product = {}
        for product_id, days in self.snapshots.items():
            newest = days[max(days)]
            self.dim_product[product_id] = {column: newest[column] for column in columns}
        for row in self.orders:
            nothing = dict.fromkeys(columns) | {"category": UNKNOWN}
            self.dim_product.setdefault(row["product_id"], nothing)

    def _unit_cost(self, row):
        if row["currency"] != self.currency:
            return None
        days = self.snapshots.get(row["product_id"], {})
        known = [day for day in days if day <= row["order_date"]]
        return days[max(known)]["unit_cost"] if known else None

    def _order_lines(self):
        copied = (
            "order_id line_number order_date order_time customer_id country product_id quantity unit_price discount "
            "currency status"
        ).split()
        self.fact_order_line = []
        for row in self.orders:
            line = {column: row[column] for column in copied}
            line["is_revenue"] = row["status"] in REVENUE_STATUSES
            line["revenue"] = row["quantity"] * row["unit_price"] - row["discount"]
            line["unit_cost"] = self._unit_cost(row)
            known = line["unit_cost"] is not None
            line["cost"] = row["quantity"] * line["unit_cost"] if known else None
            line["margin"] = line["revenue"] - line["cost"] if known else None
            self.fact_order_line.append(line)

    def _customers(self):
        self.dim_customer = {}
        orders = collections.defaultdict(set)
        located = {}
        for line in self.fact_order_line:
            name = line["customer_id"]
            if name is None:
                continue
            customer = self.dim_customer.setdefault(
                name,
                {"first_order_date": None, "last_order_date": None, "orders": 0, "lifetime_revenue": {}, "country": None},
            )
            if line["country"] is not None:
                place = line["order_time"], line["order_id"], line["line_number"]
                if name not in located or place > located[name]:
                    located[name] = place
                    customer["country"] = line["country"]
            if not line["is_revenue"]:
                continue
            day = line["order_date"]
            customer["first_order_date"] = min(customer["first_order_date"] or day, day)
            customer["last_order_date"] = max(customer["last_order_date"] or day, day)
            orders[name].add(line["order_id"])
            customer["orders"] = len(orders[name])
            spent = customer["lifetime_revenue"]
            spent[line["currency"]] = spent.get(line["currency"], decimal.Decimal(0)) + line["revenue"]

    def _sessions(self):
        by_session = collections.defaultdict(list)
        for row in self.user_activity:
            by_session[row["session_id"]].append(row)
        self.fact_session = []
        for session_id in sorted(by_session):
            number, events = 0, []
            for row in sorted(by_session[session_id], key=lambda row: (row["event_time"], row["event_id"])):
                if events and (
                    row["event_time"] - events[-1]["event_time"] > GAP or row["event_date"] != events[-1]["event_date"]
                ):
                    number += 1
                    self.fact_session.append(_session(session_id, number, events))
                    events = []
                events.append(row)
            self.fact_session.append(_session(session_id, number + 1, events))

    def _stock(self):
        self.fact_inventory = {}
        for row in self.inventory:
            stock = self.fact_inventory.setdefault(
                (row["snapshot_date"], row["product_id"]), {"stock_on_hand": 0, "reorder_level": 0}
            )
            stock["stock_on_hand"] += row["stock_on_hand"]
            stock["reorder_level"] += row["reorder_level"]

    def _daily_sales(self):
        groups = collections.defaultdict(list)
        for line in self.fact_order_line:
            if line["is_revenue"]:
                groups[line["order_date"], line["product_id"], line["currency"]].append(line)
        self.kpi_daily_sales = {}
        for key, lines in groups.items():
            margins = [line["margin"] for line in lines if line["margin"] is not None]
            self.kpi_daily_sales[key] = {
                "orders": len({line["order_id"] for line in lines}),
                "units": sum(line["quantity"] for line in lines),
                "revenue": sum(line["revenue"] for line in lines),
                "margin": sum(margins) if margins else None,
            }

    def _days(self):
        days = [row["order_date"] for row in self.orders]
        days += [row["session_date"] for row in self.fact_session]
        days += [row["snapshot_date"] for row in self.inventory]
        self.dim_date = []
        if days:
            day = min(days)
            while True:
                self.dim_date.append(day)
                if day == max(days):
                    break
                day += datetime.timedelta(days=1)


def _session(session_id, number, events):
    types = {row["event_type"] for row in events}
    return {
        "session_id": session_id,
        "session_number": number,
        "session_date": events[0]["event_date"],
        "user_id": next((row["user_id"] for row in events if row["user_id"] is not None), None),
        "start_time": events[0]["event_time"],
        "end_time": events[-1]["event_time"],
        "events": len(events),
        "products_viewed": len({row["product_id"] for row in events if row["event_type"] == "product_view"}),
        "reached_cart": "add_to_cart" in types,
        "reached_checkout": "checkout" in types,
        "reached_purchase": "purchase" in types,
        "types": types,
    }
