"""Holds the reading of files, cells and rules against cases that are written out by hand, and public conformance data."""

import csv
import datetime
import decimal
import gzip
import io
import json
import pathlib
import tempfile
import unittest
import zipfile

import landing
import reference
import sources
import tables
import values
import workbook

CONFORMANCE = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "conformance"
NOW = datetime.datetime(2026, 3, 1, tzinfo=values.UTC)
HEADER = "order_id,line_number,order_time,updated_at,customer_id,country,product_id,quantity,unit_price,discount,currency,status\n"
GOOD = "O1,1,2026-01-05 10:00,,C1,de,P1,2,10.00,1.50,eur,PAID\n"
EVENT = {"event_id": "E1", "event_time": "2026-01-05T10:00:00Z", "session_id": "S1", "event_type": "page_view"}


def moment(text):
    return datetime.datetime.fromisoformat(text)


def line(**changed):
    cells = dict(zip(HEADER.strip().split(","), GOOD.strip().split(",")))
    return ",".join((cells | changed).values()) + "\n"


def sheet(rows, extra=""):
    """A workbook of rows of (attributes, content) cells."""
    body = "".join("<row>" + "".join(f"<c {a}>{v}</c>" for a, v in row) + "</row>" for row in rows)
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}">{extra}<sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return content.getvalue()


def text(value):
    return 't="inlineStr"', f"<is><t>{value}</t></is>"


def number(value):
    return "", f"<v>{value}</v>"


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def read(self, name, content, source="orders"):
        for old in self.folder.rglob("*"):
            if old.is_file():
                old.unlink()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return sources.read(source, self.folder, "UTC", NOW)

    def expect(self, content, bronze, rules, name="a.csv", source="orders"):
        read = self.read(name, content, source)
        report = read.report()
        self.assertEqual((report["rows_bronze"], report["rules"]), (bronze, rules), content[:300])
        self.assertEqual(report["rows_read"], report["rows_bronze"] + report["rows_quarantined"])
        return read

    def test_names(self):
        for name in ("b.csv", "a/z.csv", ".hidden/a.csv", "_x.csv", "~$a.csv", "c.csv.part", "d.tmp", "Z.csv"):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        self.assertEqual(landing.files(self.folder), ["Z.csv", "a/z.csv", "b.csv"])

    def test_csv(self):
        row = self.expect(HEADER + GOOD, 1, {}).bronze[0]
        self.assertEqual(
            (row["updated_at"], row["country"], row["currency"], row["status"], row["unit_price"]),
            (moment("2026-01-05T10:00+00:00"), "DE", "EUR", "paid", decimal.Decimal("10.0000")),
        )
        self.expect("\ufeff\r\n , \r\n" + HEADER.replace(",", " , ").upper() + "\n,,,\n" + GOOD.replace("\n", "\r\n"), 1, {})
        self.expect("", 0, {})
        self.expect(b"", 0, {}, "a.csv.gz")
        self.expect(HEADER, 0, {})
        self.expect(HEADER + GOOD + GOOD.replace(",PAID", "") + GOOD.replace("PAID", "PAID,more"), 1, {"column_count": 2})
        self.expect(HEADER + line(order_id='"O""1"') + line(order_id='"O1"x') + line(order_id='"a\nb"') + GOOD, 3, {"malformed": 1})
        self.expect(HEADER + GOOD + line(order_id='"open') + GOOD, 1, {"malformed": 1})
        self.expect((HEADER + GOOD).encode() + b"\xff" + GOOD.encode(), 1, {"encoding": 1})
        self.expect(HEADER.replace("country", "ORDER_ID") + GOOD, 0, {"unreadable_file": 1})
        self.expect(HEADER.replace("status", "state") + GOOD, 0, {"required:status": 1})
        self.expect(HEADER.replace("customer_id", "other") + GOOD, 1, {})
        self.expect(gzip.compress((HEADER + GOOD).encode()), 1, {}, "a.csv.gz")
        self.expect(gzip.compress((HEADER + GOOD * 1000).encode())[:-9], 0, {"unreadable_file": 1}, "a.csv.gz")
        self.expect(gzip.compress(b"x"), 0, {"unreadable_file": 1})
        self.expect("x", 0, {"unreadable_file": 1}, "a.txt")

    def test_order_rules(self):
        for changed, rule in (
            ({"order_id": " n/a "}, "required:order_id"), ({"line_number": "0"}, "range:line_number"),
            ({"line_number": "1.5"}, "type:line_number"), ({"quantity": "-"}, "required:quantity"),
            ({"quantity": "0"}, "range:quantity"), ({"unit_price": "-0.01"}, "range:unit_price"),
            ({"discount": "-1"}, "range:discount"), ({"discount": "20.0001"}, "range:discount"),
            ({"discount": "x"}, "type:discount"), ({"currency": "EURO"}, "pattern:currency"),
            ({"status": "lost"}, "enum:status"), ({"order_time": "2026-02-30"}, "type:order_time"),
            ({"updated_at": "soon"}, "type:updated_at"),
        ):
            self.expect(HEADER + line(**changed), 0, {rule: 1})
        self.expect(HEADER + line(discount="20", quantity="2.0"), 1, {})
        self.expect(HEADER + line(discount="99", quantity="x"), 0, {"type:quantity": 1})
        self.expect(HEADER + line(discount="", country="de la", updated_at="NULL", customer_id="-"), 1, {})

    def test_json(self):
        def events(*changes):
            return "\n".join(json.dumps(EVENT | change) for change in changes)

        def expect(content, bronze, rules, name="a.ndjson"):
            return self.expect(content, bronze, rules, name, "user_activity")

        expect(events({}, {"event_type": "PURCHASE", "order_id": 7}) + "\n\n" + events({}).replace("event_id", " Event_ID "), 3, {})
        expect(events({"event_time": 1767607200}, {"event_time": "1767607200000"}, {"event_time": 1767607200.5}), 3, {})
        expect(events({"event_time": -1}, {"event_time": "2026-01-05T10:00:00"}, {"event_time": True}), 0, {"type:event_time": 3})
        expect(events({"event_time": "2016-12-31T23:59:60Z"}, {"event_time": "2016-12-30T23:59:60Z"}), 1, {"type:event_time": 1})
        expect(events({"event_time": 1767607200 * 10**6}, {"event_time": 1767607200 * 10**9}), 0, {"future:event_time": 1, "type:event_time": 1})
        expect(events({"event_time": "2026-03-02T00:00:00Z"}, {"event_time": "2026-03-02T00:00:00.000001Z"}), 1, {"future:event_time": 1})
        expect(events({"event_type": "purchase"}, {"event_type": "product_view"}, {"event_type": "nope"}, {"event_type": None}), 0,
               {"required:order_id": 1, "required:product_id": 1, "enum:event_type": 1, "required:event_type": 1})
        expect(events({"country": "d1"}, {"country": "de"}, {"properties": []}, {"properties": {"a": {}}}, {"user_id": ["x"]}), 2,
               {"pattern:country": 1, "type:properties": 1, "type:user_id": 1})
        expect('{"a":1,"A":2}\n[1]\n5\n{"a":NaN}\n{"a":"\\ud800"}\n{"a":01}\nnull\n', 0, {"malformed": 7})
        expect(b'{"a":"\xff"}\n', 0, {"malformed": 1})
        expect("\n \n{}\n" + json.dumps({"event_id": None, "x": " "}), 0, {})
        array = json.dumps([EVENT, EVENT | {"event_id": "E2"}, 5], indent=1)
        expect(array, 2, {"malformed": 1}, "a.json")
        expect(array[:-1], 0, {"unreadable_file": 1}, "a.json")
        expect(array + "x", 0, {"unreadable_file": 1}, "a.json")
        expect("[]", 0, {}, "a.json")
        expect(events({}, {}), 2, {}, "a.json")
        expect("[" + events({}) + "]", 0, {"malformed": 1})
        expect("[" * 100_000, 0, {"malformed": 1})
        expect('{"a":' * 100_000, 0, {"malformed": 1})

    def test_workbook(self):
        names = "snapshot_date product_id sku product_name category warehouse unit_cost list_price stock_on_hand reorder_level last_restocked"
        header = [text(name) for name in names.split()]

        def stock(**changed):
            cells = dict(zip(names.split(), [
                number(46027), number(123), text("S"), text("Ball"), text("Toys"), text("A"), number(1.25), text("$1,000"),
                number(5), number("2.0"), number(46020.75),
            ]))
            return list((cells | changed).values())

        def expect(rows, bronze, rules, extra=""):
            return self.expect(sheet(rows, extra), bronze, rules, "a.xlsx", "inventory")

        row = expect([[], [text(" ")], header, stock(), []], 1, {}).bronze[0]
        self.assertEqual(
            (row["snapshot_date"], row["product_id"], row["unit_cost"], row["list_price"], row["last_restocked"]),
            (datetime.date(2026, 1, 5), "123", decimal.Decimal("1.2500"), decimal.Decimal("1000"), datetime.date(2025, 12, 29)),
        )
        row = expect([header, stock(snapshot_date=number(44565), last_restocked=number(1))], 1, {}, '<workbookPr date1904="1"/>').bronze[0]
        self.assertEqual((row["snapshot_date"], row["last_restocked"]), (datetime.date(2026, 1, 5), datetime.date(1904, 1, 2)))
        expect([header, stock(snapshot_date=text("2026-01-05")), stock(snapshot_date=text("05.01.2026")), stock(snapshot_date=number(0))],
               1, {"type:snapshot_date": 2})
        expect([header, stock(last_restocked=number(46028)), stock(last_restocked=number(46028), snapshot_date=text("x"))],
               0, {"range:last_restocked": 1, "type:snapshot_date": 1})
        expect([header, stock(brand=text("-"), stock_on_hand=number(-1)), stock(sku=('t="e"', "<v>#N/A</v>"))], 0, {"range:stock_on_hand": 1, "type:sku": 1})
        expect([header + [text("SKU ")], stock()], 0, {"unreadable_file": 1})
        self.expect(sheet([header, stock()])[:-30], 0, {"unreadable_file": 1}, "a.xlsx", "inventory")
        self.expect(b"junk", 0, {"unreadable_file": 1}, "a.xlsx", "inventory")

    def test_correction_and_quarantine(self):
        """A correction moves an order away; one that is quarantined leaves the older row."""
        content = HEADER + GOOD + line(order_time="2026-02-01", updated_at="2026-02-02") + line(updated_at="2026-02-03", quantity="x")
        read = self.read("a.csv", content)
        built = tables.Tables({"orders": read.bronze, "inventory": [], "user_activity": []}, "EUR")
        self.assertEqual([row["order_date"] for row in built.fact_order_line], [datetime.date(2026, 2, 1)])

    def test_document(self):
        self.read("orders/a.csv", HEADER + GOOD)
        read, built = reference.build(self.folder, now=NOW)
        document = reference.dump({"kpis": reference.kpis.Kpis(built).all(), "sources": {n: s.report() for n, s in read.items()}})
        self.assertEqual(
            json.loads(document, parse_float=str)["kpis"]["total_revenue"],
            [{"currency": "EUR", "revenue": "18.5000", "orders": 1, "customers": 1, "units": 2, "average_order_value": "18.500000"}],
        )


class Values(unittest.TestCase):
    def test_amount(self):
        for cell, want in (
            ("1,234.50", "1234.5000"), ("$5", "5"), ("5€", "5"), ("-3.00005", "-3.0001"), ("0.00004", "0"), ("0.00005", "0.0001"),
            ("99999999999999.9999", "99999999999999.9999"), ("£1,000,000", "1000000"), (".5", "0.5"), ("$ -5", "-5"), (values.Number("1.5"), "1.5"),
        ):
            self.assertEqual(values.amount(cell), decimal.Decimal(want), cell)
        for cell in ("12,34", "1,2345", "1e3", "99999999999999.99995", "100000000000000", "$5€", "-$5", "5.", ".", "", "1,234,5", ",123", "0x1", "٣", True):
            with self.assertRaises(values.Broken, msg=cell):
                values.amount(cell)

    def test_integer(self):
        self.assertEqual(values.integer("9223372036854775807"), 2**63 - 1)
        self.assertEqual(values.integer("-2.00"), -2)
        for cell in ("9223372036854775808", "1,000", "1e3", "1.1", "0x1", "1_0", "٣"):
            with self.assertRaises(values.Broken, msg=cell):
                values.integer(cell)

    def test_local_time(self):
        for cell, want in (
            ("2026-01-05", "2026-01-04T23:00+00:00"), ("2026/01/05 10:00", "2026-01-05T09:00+00:00"),
            ("05.01.2026T10:00:01.1234567", "2026-01-05T09:00:01.123456+00:00"), ("05/01/2026 10:00Z", "2026-01-05T10:00+00:00"),
            ("2026-01-05 10:00-05:00", "2026-01-05T15:00+00:00"), ("2026-01-05t10:00+0130", "2026-01-05T08:30+00:00"),
            ("2025-10-26 02:30", "2025-10-26T00:30+00:00"), ("2026-03-29 02:30", "2026-03-29T01:30+00:00"),
        ):
            self.assertEqual(values.local_time(cell, "Europe/Berlin"), moment(want), cell)
        for cell in ("2026-1-5", "2026-01-05 25:00", "13/13/2026", "2026-01-05Z", "2026-01-05 10", values.Number("20260105")):
            with self.assertRaises(values.Broken, msg=cell):
                values.local_time(cell, "UTC")

    def test_null(self):
        for cell in ("", " \u2003", "null", "N/A", "nan", "-", "\u00a0NULL\t"):
            self.assertIsNone(values.clean(cell))
        self.assertEqual(values.clean(" e\u0301 "), "é")
        self.assertEqual(values.text_of(values.Number("123.0")), "123")


@unittest.skipUnless(CONFORMANCE.is_dir(), "the public conformance data is not there")
class Conformance(unittest.TestCase):
    def test_csv_spectrum(self):
        for path in sorted((CONFORMANCE / "csv-spectrum" / "csvs").glob("*.csv")):
            rows = list(landing.csv_rows(path.read_bytes().removeprefix(b"\xef\xbb\xbf")))
            got = [dict(zip(rows[0], row)) for row in rows[1:]]
            self.assertEqual(got, json.loads((CONFORMANCE / "csv-spectrum" / "json" / f"{path.stem}.json").read_text()), path.name)
            again = [row for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))]
            self.assertEqual(rows, again, path.name)

    def test_json(self):
        folder = next((CONFORMANCE / "JSONTestSuite").rglob("y_*.json")).parent
        for path in sorted(folder.glob("*.json")):
            content = path.read_bytes()
            try:
                value = landing._parse(content.decode("utf-8").strip(landing.SPACE))
                parsed = value is not None or content.strip() == b"null"
            except UnicodeDecodeError:
                parsed = False
            if path.name[0] in "yn":
                self.assertEqual(parsed, path.name.startswith("y_"), path.name)
            try:
                list(landing.json_records(content, may_be_array=True))
            except landing.Unreadable:
                pass

    def test_workbooks(self):
        for path in sorted(CONFORMANCE.rglob("*.xlsx")):
            try:
                list(landing.table_records(workbook.rows(path.read_bytes()), exact=False))
            except (workbook.Unreadable, landing.Unreadable):
                pass


if __name__ == "__main__":
    unittest.main()
