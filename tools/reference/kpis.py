"""The ten KPIs, computed from the tables line by line."""

import collections
import datetime
import decimal
import fractions

from tables import UNKNOWN

STEPS = ("product_view", "add_to_cart", "checkout", "purchase")
ZERO = decimal.Decimal(0)
ONE_DAY = datetime.timedelta(days=1)


def quotient(dividend, divisor):
    """Exact, rounded half away from zero to 6 places; None where it would divide by 0."""
    if divisor == 0:
        return None
    exact = fractions.Fraction(dividend) / fractions.Fraction(divisor) * 10**6
    whole, rest = divmod(abs(exact.numerator), exact.denominator)
    if 2 * rest >= exact.denominator:
        whole += 1
    return decimal.Decimal(-whole if exact < 0 else whole).scaleb(-6)


def places(amount):
    return amount.quantize(decimal.Decimal("0.0001"))


def total(lines, column):
    return places(sum((line[column] for line in lines), ZERO))


def units_of(lines):
    return sum(line["quantity"] for line in lines)


def orders_of(lines):
    return len({line["order_id"] for line in lines})


def customers_of(lines):
    return {line["customer_id"] for line in lines if line["customer_id"] is not None}


def month_of(day):
    return day.year * 12 + day.month - 1


class Kpis:
    """The KPIs of some tables for a range of business days; a bound that is None is unbounded."""

    def __init__(self, tables, start=None, end=None):
        self.tables, self.start, self.end = tables, start, end
        self.lines = [line for line in tables.fact_order_line if line["is_revenue"] and self.within(line["order_date"])]

    def within(self, day):
        return (self.start is None or day >= self.start) and (self.end is None or day < self.end)

    def days(self):
        """The first day of the range and the day after its last; None where neither is given nor any order known."""
        known = [line["order_date"] for line in self.tables.fact_order_line]
        first = self.start or (min(known) if known else None)
        after = self.end or (max(known) + ONE_DAY if known else None)
        return first, after

    def category(self, product_id):
        product = self.tables.dim_product.get(product_id)
        return product["category"] if product else UNKNOWN

    def name(self, product_id):
        product = self.tables.dim_product.get(product_id)
        return product["product_name"] if product else None

    def grouped(self, key):
        groups = collections.defaultdict(list)
        for line in self.lines:
            groups[key(line)].append(line)
        return groups

    def total_revenue(self):
        rows = []
        for currency, lines in sorted(self.grouped(lambda line: line["currency"]).items()):
            revenue, orders = total(lines, "revenue"), orders_of(lines)
            rows.append({
                "currency": currency, "revenue": revenue, "orders": orders, "customers": len(customers_of(lines)),
                "units": units_of(lines), "average_order_value": quotient(revenue, orders),
            })
        return rows

    def daily_revenue(self):
        groups = self.grouped(lambda line: (line["order_date"], line["currency"]))
        currencies = sorted({currency for _, currency in groups})
        rows = []
        if not currencies:
            return rows
        day, after = self.days()
        while day < after:
            for currency in currencies:
                lines = groups.get((day, currency), [])
                rows.append({
                    "day": day, "currency": currency, "revenue": total(lines, "revenue"), "orders": orders_of(lines),
                    "units": units_of(lines),
                })
            day += ONE_DAY
        return rows

    def top_products(self, limit=10):
        by_currency = collections.defaultdict(list)
        for (currency, product_id), lines in self.grouped(lambda line: (line["currency"], line["product_id"])).items():
            by_currency[currency].append((-total(lines, "revenue"), product_id, units_of(lines)))
        rows = []
        for currency in sorted(by_currency):
            for rank, (negated, product_id, units) in enumerate(sorted(by_currency[currency])[:max(limit, 0)], 1):
                rows.append({
                    "rank": rank, "product_id": product_id, "product_name": self.name(product_id),
                    "category": self.category(product_id), "currency": currency, "units": units, "revenue": -negated,
                })
        return rows

    def category_breakdown(self):
        whole = {currency: total(lines, "revenue") for currency, lines in self.grouped(lambda line: line["currency"]).items()}
        rows = []
        for (category, currency), lines in self.grouped(
            lambda line: (self.category(line["product_id"]), line["currency"])
        ).items():
            revenue = total(lines, "revenue")
            rows.append({
                "category": category, "currency": currency, "revenue": revenue,
                "share": quotient(revenue, whole[currency]), "orders": orders_of(lines), "units": units_of(lines),
            })
        return sorted(rows, key=lambda row: (row["currency"], -row["revenue"], row["category"]))

    def user_retention(self):
        if not self.lines:
            return []
        last_month = max(month_of(line["order_date"]) for line in self.lines)
        cohorts = collections.defaultdict(set)
        for customer_id, customer in self.tables.dim_customer.items():
            first = customer["first_order_date"]
            if first is not None and self.within(first):
                cohorts[month_of(first)].add(customer_id)
        active = collections.defaultdict(set)
        for line in self.lines:
            active[month_of(line["order_date"])].add(line["customer_id"])
        rows = []
        for cohort in sorted(cohorts):
            members = cohorts[cohort]
            for number in range(last_month - cohort + 1):
                customers = len(members & active[cohort + number])
                rows.append({
                    "cohort": f"{cohort // 12:04d}-{cohort % 12 + 1:02d}", "month_number": number,
                    "customers": customers, "cohort_size": len(members), "retention": quotient(customers, len(members)),
                })
        return rows

    def conversion_funnel(self):
        sessions = [row for row in self.tables.fact_session if self.within(row["session_date"])]
        counts = [("session", len(sessions))]
        counts += [(step, sum(step in row["types"] for row in sessions)) for step in STEPS]
        return [{"step": step, "sessions": count, "rate": quotient(count, len(sessions))} for step, count in counts]

    def repeat_purchase_rate(self):
        orders = collections.defaultdict(set)
        for line in self.lines:
            if line["customer_id"] is not None:
                orders[line["customer_id"]].add(line["order_id"])
        repeated = sum(len(ids) >= 2 for ids in orders.values())
        return [{"customers": len(orders), "repeat_customers": repeated, "rate": quotient(repeated, len(orders))}]

    def gross_margin(self):
        rows = []
        for (currency, category), lines in sorted(
            self.grouped(lambda line: (line["currency"], self.category(line["product_id"]))).items()
        ):
            known = [line for line in lines if line["cost"] is not None]
            revenue, margin = total(known, "revenue"), total(known, "margin")
            rows.append({
                "category": category, "currency": currency, "revenue": revenue, "cost": total(known, "cost"),
                "margin": margin, "margin_rate": quotient(margin, revenue), "lines_without_cost": len(lines) - len(known),
            })
        return rows

    def inventory_cover(self):
        _, after = self.days()
        newest = {}
        for day, product_id in self.tables.fact_inventory:
            if after is None or day < after:
                newest[product_id] = max(newest.get(product_id, day), day)
        sold = collections.Counter()
        for line in self.tables.fact_order_line:
            if after and line["is_revenue"] and after - 28 * ONE_DAY <= line["order_date"] < after:
                sold[line["product_id"]] += line["quantity"]
        rows = []
        for product_id in sorted(newest):
            stock = self.tables.fact_inventory[newest[product_id], product_id]
            units = sold[product_id]
            rows.append({
                "product_id": product_id, "product_name": self.name(product_id), "stock_on_hand": stock["stock_on_hand"],
                "daily_units": quotient(units, 28), "days_of_cover": quotient(stock["stock_on_hand"] * 28, units),
                "below_reorder_level": stock["stock_on_hand"] < stock["reorder_level"],
            })
        return rows

    def revenue_by_country(self):
        rows = []
        for (country, currency), lines in self.grouped(lambda line: (line["country"] or UNKNOWN, line["currency"])).items():
            rows.append({
                "country": country, "currency": currency, "revenue": total(lines, "revenue"), "orders": orders_of(lines),
            })
        return sorted(rows, key=lambda row: (row["currency"], -row["revenue"], row["country"]))

    def all(self, limit=10):
        found = {}
        for name in NAMES:
            found[name] = self.top_products(limit) if name == "top_products" else getattr(self, name)()
        return found


NAMES = (
    "total_revenue", "daily_revenue", "top_products", "category_breakdown", "user_retention", "conversion_funnel",
    "repeat_purchase_rate", "gross_margin", "inventory_cover", "revenue_by_country",
)
