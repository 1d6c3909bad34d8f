"""Makes random rows of bronze that are hard to compute with: ties, corrections, guests, gaps, midnight, losses."""

import datetime
import decimal

import values

START = datetime.datetime(2025, 11, 20, tzinfo=values.UTC)
DAYS = 110
PRODUCTS = [f"P{n}" for n in range(12)] + ["p1", "Ä9", "unseen-1", "unseen-2"]
CURRENCIES = ["EUR"] * 6 + ["USD", "GBP"]
COUNTRIES = [None, None, "DE", "FR", "Österreich", "unknown", "US", "de la"]
STATUSES = ["placed", "paid", "paid", "shipped", "delivered", "cancelled", "returned"]
CATEGORIES = ["Toys", "toys", "Books", "unknown", "Zoo & Co"]
EVENTS = ["page_view", "page_view", "product_view", "product_view", "search", "add_to_cart", "checkout", "purchase"]


def amount(random, most):
    scale = random.choice([1, 100, 10_000])
    return decimal.Decimal(random.randrange(0, most * scale) * (10_000 // scale)).scaleb(-4)


def place(random, row):
    row["_source_file"] = f"{random.choice('abÄZ')}/{random.randrange(2)}.csv".encode()
    return row


def number(rows):
    counts = {}
    for row in rows:
        counts[row["_source_file"]] = row["_row_number"] = counts.get(row["_source_file"], 0) + 1
    return rows


def orders(random, zone, count):
    rows = []
    for n in range(count):
        # Times of day are few, and customers too, so that there are ties.
        time = START + datetime.timedelta(hours=random.randrange(DAYS) * 24 + random.choice([0, 12, 23]))
        last = random.random() < 0.1
        if last:
            time = START + datetime.timedelta(days=DAYS + 200)
        customer = random.choice([None] + [f"C{m}" for m in range(random.choice([3, count // 4 + 1]))])
        currency = random.choice(CURRENCIES)
        for line in range(1, random.choice([1, 1, 2, 3]) + 1):
            if not last and random.random() < 0.1:
                time += datetime.timedelta(days=random.randrange(40))
            if random.random() < 0.05:
                currency = random.choice(CURRENCIES)
            versions = random.choice([1, 1, 1, 2, 3])
            updated = time
            for _ in range(versions):
                quantity = random.choice([1, 2, 3, 17, 10**6])
                unit_price = random.choice([amount(random, 100), amount(random, 10**6), decimal.Decimal("0.0000"),
                                            decimal.Decimal("19.9900"), decimal.Decimal("19.9900")])
                whole = quantity * unit_price
                discount = random.choice([decimal.Decimal("0.0000"), whole, min(whole, amount(random, 20))])
                rows.append(place(random, {
                    "order_id": f"O{n}", "line_number": line, "order_time": time, "updated_at": updated,
                    "order_date": values.business_day(time, zone), "customer_id": customer, "customer_email": None,
                    "country": random.choice(COUNTRIES), "payment_method": None, "city": None,
                    "product_id": random.choice(PRODUCTS), "quantity": quantity, "unit_price": unit_price,
                    "discount": min(discount, decimal.Decimal("99999999999999.9999")), "currency": currency,
                    "status": random.choice(STATUSES),
                }))
                updated += datetime.timedelta(hours=random.choice([0, 0, 0, 5, 300]))
                if not last and random.random() < 0.3:
                    time += datetime.timedelta(days=random.randrange(-35, 35))
    random.shuffle(rows)
    return number(rows)


def inventory(random, weeks, warehouses):
    rows = []
    for week in range(weeks):
        day = (START + datetime.timedelta(days=3 + 7 * week)).date()
        if random.random() < 0.1:
            continue
        for product in PRODUCTS[:-2]:
            for warehouse in warehouses:
                for _ in range(random.choice([0, 1, 1, 1, 1, 2])):
                    rows.append(place(random, {
                        "snapshot_date": day, "product_id": product, "sku": f"S-{product}",
                        "product_name": random.choice(["Ball", "Bat", f"Thing {product}"]),
                        "category": random.choice(CATEGORIES), "warehouse": warehouse,
                        "subcategory": random.choice([None, "x"]), "brand": None, "unit_cost": amount(random, 200),
                        "list_price": amount(random, 300), "stock_on_hand": random.choice([0, 5, 700, 10**12]),
                        "reorder_level": random.choice([0, 5, 50]), "last_restocked": None,
                    }))
    random.shuffle(rows)
    return number(rows)


def user_activity(random, zone, sessions):
    rows, event = [], 0
    for n in range(sessions):
        time = START + datetime.timedelta(seconds=random.randrange(DAYS * 86400))
        if random.random() < 0.3:
            time = time.replace(hour=23, minute=random.randrange(60))
        for _ in range(random.randrange(1, 12)):
            kind = random.choice(EVENTS)
            row = {
                "event_id": f"E{event}", "event_time": time, "session_id": f"S{n}",
                "user_id": random.choice([None, f"U{n % 7}", f"U{n % 5}"]), "event_type": kind,
                "product_id": random.choice(PRODUCTS) if kind == "product_view" else random.choice([None, "P1"]),
                "order_id": "O1" if kind == "purchase" else None, "country": None, "page_url": None, "referrer": None,
                "device": None, "search_query": None, "properties": None,
                "event_date": values.business_day(time, zone),
            }
            event += 1
            rows.append(place(random, row))
            if random.random() < 0.2:
                later = time + datetime.timedelta(seconds=random.choice([0, 0, -3, 90_000]))
                again = row | {"event_time": later, "event_date": values.business_day(later, zone)}
                rows.append(place(random, again | {"event_type": "search"}))
            time += random.choice([
                datetime.timedelta(0), datetime.timedelta(seconds=40), datetime.timedelta(minutes=30),
                datetime.timedelta(minutes=30, microseconds=1), datetime.timedelta(hours=7), datetime.timedelta(days=2),
            ])
    random.shuffle(rows)
    return number(rows)


def bronze(random, zone):
    """Rows of all three sources."""
    size = random.choice([0, 3, 40, 150])
    return {
        "orders": orders(random, zone, size),
        "inventory": inventory(random, random.choice([0, 2, 14]), random.choice([["A"], ["A", "b", "B"]])),
        "user_activity": user_activity(random, zone, random.choice([0, 5, 80])),
    }
