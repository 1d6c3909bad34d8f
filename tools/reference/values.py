"""Cells and what they are read as: text, numbers, moments and days.

A reader hands out cells as Python values: None (absent), str, bool, Number, Serial, DateCell, Composite or ErrorCell.
The functions here turn a cell into a value, or raise Broken with the name of the check that it breaks.
"""

import datetime
import decimal
import functools
import re
import unicodedata
import zoneinfo

decimal.getcontext().prec = 120

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)

# The characters with Unicode's property White_Space.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
NULLS = {"", "null", "n/a", "nan", "-"}


class Broken(Exception):
    """A cell that breaks a check."""

    def __init__(self, check):
        super().__init__(check)
        self.check = check


class Number(str):
    """A JSON number, as it was written."""


class Serial(str):
    """A workbook's number in plain notation; dates count its days."""

    epoch_1904 = False


class DateCell(str):
    """A workbook's cell that holds an ISO date."""


class ErrorCell(str):
    """A workbook's error value."""


class Composite:
    """A JSON list or object."""

    def __init__(self, value):
        self.value = value


def trim(text):
    return text.strip(WHITE_SPACE)


def is_blank(cell):
    """Whether a cell is empty, so that it makes no row."""
    return cell is None or (isinstance(cell, str) and not isinstance(cell, ErrorCell) and trim(cell) == "")


def clean(cell):
    """The cell trimmed and normalised; None where it is null."""
    if cell is None or isinstance(cell, (bool, Composite, ErrorCell)):
        return cell
    text = trim(cell)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if text.casefold() in NULLS:
        return None
    if type(cell) is str:
        return text
    result = type(cell)(text)
    if isinstance(cell, Serial):
        result.epoch_1904 = cell.epoch_1904
    return result


WHOLE_FRACTION = re.compile(r"(-?[0-9]+)\.0+")


def text_of(cell):
    """The text of a cell: a number is written as such, without a fraction of zeros."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, (Composite, ErrorCell)):
        raise Broken("type")
    if isinstance(cell, (Number, Serial)):
        whole = WHOLE_FRACTION.fullmatch(cell)
        return whole.group(1) if whole else str(cell)
    return str(cell)


def string(cell):
    return text_of(cell)


INTEGER = re.compile(r"([+-]?[0-9]+)(?:\.0+)?")


def integer(cell):
    if isinstance(cell, bool):
        raise Broken("type")
    match = INTEGER.fullmatch(text_of(cell))
    if not match:
        raise Broken("type")
    digits = match.group(1)
    if len(digits.lstrip("+-").lstrip("0")) > 19:
        raise Broken("type")
    value = int(digits)
    if not -(2**63) <= value < 2**63:
        raise Broken("type")
    return value


DECIMAL = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?")
SYMBOLS = "$€£¥"
PLACES = decimal.Decimal("0.0001")


def amount(cell):
    """A decimal(18,4) that may have group separators and one currency symbol."""
    if isinstance(cell, bool):
        raise Broken("type")
    text = text_of(cell)
    if text[:1] in SYMBOLS and text:
        text = trim(text[1:])
    elif text[-1:] in SYMBOLS and text:
        text = trim(text[:-1])
    match = DECIMAL.fullmatch(text)
    if not match:
        raise Broken("type")
    sign, whole, fraction = match.groups()
    whole = whole.replace(",", "").lstrip("0")
    if len(whole) > 14:
        raise Broken("type")
    digits = (fraction or ".")[1:]
    scaled = int((whole or "0") + digits[:4].ljust(4, "0"))
    if digits[4:5] >= "5":
        scaled += 1
    if scaled >= 10**18:
        raise Broken("type")
    return decimal.Decimal(-scaled if sign == "-" else scaled).scaleb(-4)


INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
DIGITS = re.compile(r"[0-9]+")
EPOCH_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
# The last millisecond that 64 bits of microseconds hold; what lies beyond Python's own last moment is taken for that.
LAST_MILLISECOND = 9223372036854774


def instant(cell):
    """A moment with its zone, or epoch seconds or milliseconds."""
    if isinstance(cell, (bool, Composite, ErrorCell)):
        raise Broken("type")
    text = str(cell)
    if isinstance(cell, (Number, Serial)):
        if not EPOCH_NUMBER.fullmatch(text):
            raise Broken("type")
        return _epoch(decimal.Decimal(text))
    if DIGITS.fullmatch(text):
        return _epoch(decimal.Decimal(text))
    return _instant_text(text)


def _epoch(number):
    if number < 0:
        raise Broken("type")
    if number >= LAST_MILLISECOND + 1:
        raise Broken("type")
    microseconds = number * 10**6 if number < 10**11 else number * 10**3
    try:
        return EPOCH + datetime.timedelta(microseconds=int(microseconds))
    except OverflowError:
        return datetime.datetime.max.replace(tzinfo=UTC)


@functools.lru_cache(maxsize=4096)
def _instant_text(text):
    match = INSTANT.fullmatch(text)
    if not match:
        raise Broken("type")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    leap = second == "60"
    try:
        local = datetime.datetime(
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second),
            _microseconds(fraction), _offset(zone),
        )
        moment = local.astimezone(UTC)
        if leap:
            # A leap second ends a month of UTC; it is read as the second after it.
            moment += datetime.timedelta(seconds=1)
            if (moment.day, moment.hour, moment.minute, moment.second) != (1, 0, 0, 0):
                raise Broken("type")
        return moment
    except (ValueError, OverflowError):
        raise Broken("type") from None


def _microseconds(fraction):
    return int((fraction or "")[:6].ljust(6, "0"))


def _offset(zone):
    if zone in "Zz":
        return UTC
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset")
    offset = datetime.timedelta(hours=hours, minutes=minutes)
    return datetime.timezone(-offset if zone[0] == "-" else offset)


LOCAL_TIME = re.compile(
    r"(?:(?P<y1>[0-9]{4})-(?P<m1>[0-9]{2})-(?P<d1>[0-9]{2})"
    r"|(?P<y2>[0-9]{4})/(?P<m2>[0-9]{2})/(?P<d2>[0-9]{2})"
    r"|(?P<d3>[0-9]{2})\.(?P<m3>[0-9]{2})\.(?P<y3>[0-9]{4})"
    r"|(?P<d4>[0-9]{2})/(?P<m4>[0-9]{2})/(?P<y4>[0-9]{4}))"
    r"(?:[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def local_time(cell, zone_name):
    """A moment that is written in the pipeline's time zone, unless it names its own."""
    if not isinstance(cell, str) or isinstance(cell, (Number, Serial, ErrorCell)):
        raise Broken("type")
    return _local_time_text(str(cell), zone_name)


@functools.lru_cache(maxsize=65536)
def _local_time_text(text, zone_name):
    match = LOCAL_TIME.fullmatch(text)
    if not match:
        raise Broken("type")
    part = match.groupdict()
    year, month, day = next((part["y" + n], part["m" + n], part["d" + n]) for n in "1234" if part["y" + n])
    try:
        zone = _offset(part["zone"]) if part["zone"] else zone_of(zone_name)
        # fold=0: a repeated hour is the first; a skipped one is read with the offset before it, and so moves forward.
        local = datetime.datetime(
            int(year), int(month), int(day),
            int(part["hour"] or 0), int(part["minute"] or 0), int(part["second"] or 0),
            _microseconds(part["fraction"]), zone,
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Broken("type") from None


@functools.lru_cache(maxsize=None)
def zone_of(name):
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def business_day(moment, zone_name):
    return moment.astimezone(zone_of(zone_name)).date()


DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
LAST_SERIAL = 2958465


def date(cell):
    """A workbook's date or serial number, or YYYY-MM-DD."""
    if isinstance(cell, Serial):
        days = decimal.Decimal(str(cell)).to_integral_value(decimal.ROUND_FLOOR)
        first = datetime.date(1904, 1, 1) if cell.epoch_1904 else datetime.date(1899, 12, 30)
        if not 1 <= days <= LAST_SERIAL:
            raise Broken("type")
        if not cell.epoch_1904 and days <= 60:
            # The 1900 system counts a 29 February 1900 that never was, as 60: below it, a day more.
            if days == 60:
                raise Broken("type")
            days += 1
        try:
            return first + datetime.timedelta(days=int(days))
        except OverflowError:
            raise Broken("type") from None
    if isinstance(cell, DateCell):
        cell = str(cell)[:10]
    elif type(cell) is not str:
        raise Broken("type")
    match = DATE.fullmatch(cell)
    if not match:
        raise Broken("type")
    try:
        return datetime.date(*map(int, match.groups()))
    except ValueError:
        raise Broken("type") from None


def json_object(cell):
    if not isinstance(cell, Composite) or not isinstance(cell.value, dict):
        raise Broken("type")
    return cell.value
