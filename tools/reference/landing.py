"""Reads landing folders: which files there are, and the records in them."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
import zlib

import workbook
from values import Composite, Number, is_blank, trim

IGNORED_PARTS = (".", "_", "~$")
UNFINISHED = (".tmp", ".part")
GZIP, ZSTD = ".gz", ".zst"
JSON_DEPTH = 1000
sys.setrecursionlimit(10_000)

# How files of other formats begin: ZIP, gzip, Zstandard, OLE, Parquet.
OTHER_FORMATS = (b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xd0\xcf\x11\xe0", b"PAR1")


class Unreadable(Exception):
    """None of the file's rows load."""


class Record:
    """One row of a file: cells by column name, or the rule of the reader that it breaks."""

    __slots__ = ("number", "cells", "rule")

    def __init__(self, number, cells=None, rule=None):
        self.number, self.cells, self.rule = number, cells, rule


def files(folder):
    """The files below a folder by name, bytewise."""
    found = []
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(IGNORED_PARTS)]
        for name in names:
            if not name.startswith(IGNORED_PARTS) and not name.endswith(UNFINISHED):
                found.append(os.path.relpath(os.path.join(directory, name), folder).replace(os.sep, "/"))
    return sorted(found, key=os.fsencode)


def records(folder, name, kinds):
    """The records of a file; kinds are the endings of names that the source takes (.csv, .xlsx, ...)."""
    base, compression = name.lower(), None
    if base.endswith((GZIP, ZSTD)) and ".xlsx" not in kinds:
        base, compression = os.path.splitext(base)
    kind = os.path.splitext(base)[1]
    if kind not in kinds:
        raise Unreadable(f"{name} is not one of {', '.join(kinds)}")
    with open(os.path.join(folder, name), "rb") as file:
        content = file.read()
    if not content:
        return []
    if compression:
        content = _decompress(content, compression)
    if kind == ".xlsx":
        try:
            return table_records(workbook.rows(content), exact=False)
        except workbook.Unreadable as error:
            raise Unreadable(str(error)) from error
    if content.startswith(OTHER_FORMATS):
        raise Unreadable(f"{name} holds another format")
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if kind == ".csv":
        return table_records(csv_rows(content), exact=True)
    return json_records(content, may_be_array=kind == ".json")


def _decompress(content, compression):
    try:
        if compression == GZIP:
            return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise Unreadable(str(error)) from error
    program = shutil.which("zstd")
    if not program:
        raise SystemExit("a .zst file needs the program zstd")
    done = subprocess.run([program, "-dcq"], input=content, capture_output=True, check=False)
    if done.returncode:
        raise Unreadable(done.stderr.decode(errors="replace"))
    return done.stdout


class BadRow:
    """A CSV record that cannot be split into cells."""

    def __init__(self, rule):
        self.rule = rule


def csv_rows(content):
    """The records of a CSV as lists of texts, or BadRow."""
    position, end = 0, len(content)
    while position < end:
        line_end = content.find(b"\n", position)
        line_end = end if line_end < 0 else line_end
        line = content[position:line_end]
        if b'"' not in line:
            yield _texts(line.removesuffix(b"\r").split(b","))
            position = line_end + 1
            continue
        cells, position = _quoted_record(content, position)
        yield BadRow("malformed") if cells is None else _texts(cells)


def _texts(cells):
    try:
        return [cell.decode("utf-8") for cell in cells]
    except UnicodeDecodeError:
        return BadRow("encoding")


def _quoted_record(content, position):
    """One record's cells (None where it is malformed) and where the next begins."""
    cells, end = [], len(content)
    while True:
        if content[position : position + 1] == b'"':
            parts, start = [], position + 1
            while True:
                quote = content.find(b'"', start)
                if quote < 0:
                    return None, end
                parts.append(content[start:quote])
                if content[quote + 1 : quote + 2] != b'"':
                    break
                parts.append(b'"')
                start = quote + 2
            cells.append(b"".join(parts))
            position = quote + 1
        else:
            stop = re.compile(rb"[,\n]").search(content, position)
            stop = stop.start() if stop else end
            cell = content[position:stop]
            if content[stop : stop + 1] == b"\n" or stop == end:
                cell = cell.removesuffix(b"\r")
            cells.append(cell)
            position = stop
        rest = content[position : position + 2]
        if rest[:1] == b",":
            position += 1
        elif rest == b"":
            return cells, end
        elif rest[:1] == b"\n":
            return cells, position + 1
        elif rest == b"\r\n" or (rest == b"\r" and position + 1 == end):
            return cells, position + 2
        else:
            line_end = content.find(b"\n", position)
            return None, end if line_end < 0 else line_end + 1


def fold(name):
    return unicodedata.normalize("NFC", trim(name)).casefold()


def table_records(rows, exact):
    """Records of rows of cells below a header; exact: each row has as many cells as the header."""
    names, number = None, 0
    for row in rows:
        if isinstance(row, BadRow):
            if names is None:
                raise Unreadable("the header cannot be read")
            number += 1
            yield Record(number, rule=row.rule)
            continue
        if all(is_blank(cell) for cell in row):
            continue
        if names is None:
            names = [fold(str(cell)) if cell is not None else "" for cell in row]
            if any("\r" in name or "\0" in name for name in names):
                raise Unreadable("the header is not lines of text")
            named = [name for name in names if name]
            if len(set(named)) < len(named):
                raise Unreadable("a column name is repeated")
            continue
        number += 1
        if exact and len(row) != len(names):
            yield Record(number, rule="column_count")
        else:
            yield Record(number, cells=dict(zip(names, row)))


class _Object:
    """A JSON object with its keys as they stand."""

    def __init__(self, pairs):
        self.pairs = pairs


def _refuse(text):
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=Number, parse_float=Number, parse_constant=_refuse)
SPACE = " \t\n\r"


def json_records(content, may_be_array):
    """Records of lines, or of the elements of one array."""
    text = content.decode("utf-8", "surrogateescape")
    if may_be_array and text.lstrip(SPACE).startswith("["):
        elements = _elements(text)
    else:
        elements = ((line, None) for line in text.split("\n") if line.strip(SPACE))
    number = 0
    for source, value in elements:
        number += 1
        if not source.isascii() and any("\udc80" <= char <= "\udcff" for char in source):
            # JSON is UTF-8: other bytes are no strict JSON.
            yield Record(number, rule="malformed")
            continue
        if value is None:
            value = _parse(source.strip(SPACE))
        cells = _cells(value)
        if cells is None:
            yield Record(number, rule="malformed")
        elif all(is_blank(cell) for cell in cells.values()):
            number -= 1
        else:
            yield Record(number, cells=cells)


def _parse(text):
    if _depth(text) > JSON_DEPTH:
        return None
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.S)


def _depth(text):
    if text.count("[") + text.count("{") <= JSON_DEPTH:
        return 0
    depth = deepest = 0
    for char in STRING.sub("", text):
        if char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _elements(text):
    """The elements of an array, all of them read before the first is handed out: a broken array has no rows."""
    found = []
    position = text.index("[") + 1
    position = _skip(text, position)
    if text[position : position + 1] == "]":
        position += 1
    else:
        while True:
            try:
                value, stop = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError) as error:
                raise Unreadable(str(error)) from error
            found.append((text[position:stop], value))
            position = _skip(text, stop)
            separator = text[position : position + 1]
            position += 1
            if separator == "]":
                break
            if separator != ",":
                raise Unreadable("the array is broken")
            position = _skip(text, position)
    if _skip(text, position) != len(text):
        raise Unreadable("something follows the array")
    return found


def _skip(text, position):
    while text[position : position + 1] and text[position] in SPACE:
        position += 1
    return position


def _cells(value):
    """The cells of an object by folded key; None where it is malformed."""
    if not isinstance(value, _Object):
        return None
    cells = {}
    for key, member in value.pairs:
        if _half_pair(key) or _half_pair(member):
            return None
        key = fold(key)
        if key in cells:
            return None
        cells[key] = Composite(_plain(member)) if isinstance(member, (_Object, list)) else member
    return cells


def _half_pair(value):
    if isinstance(value, str):
        return not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, list):
        return any(_half_pair(member) for member in value)
    if isinstance(value, _Object):
        return any(_half_pair(key) or _half_pair(member) for key, member in value.pairs)
    return False


def _plain(value):
    if isinstance(value, _Object):
        return {key: _plain(member) for key, member in value.pairs}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value
