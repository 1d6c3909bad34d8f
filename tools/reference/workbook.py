"""Reads the first sheet of an XLSX workbook: cached values, as they are stored."""

import decimal
import io
import posixpath
import re
import xml.etree.ElementTree
import zipfile

from values import DateCell, ErrorCell, Serial

# A workbook that unpacks to more than this is taken for a trap.
LARGEST = 1 << 30


class Unreadable(Exception):
    """The file is no workbook, or a broken one."""


def rows(content):
    """All rows of the first sheet as lists of cells."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise Unreadable("too large")
            damaged = archive.testzip()
            if damaged:
                raise Unreadable(f"{damaged} is damaged")
            return _rows(archive)
    except (zipfile.BadZipFile, xml.etree.ElementTree.ParseError, KeyError, ValueError, IndexError, EOFError,
            NotImplementedError, RuntimeError, OSError, zipfile.zlib.error) as error:
        raise Unreadable(str(error)) from error


def _local(tag):
    return tag.rpartition("}")[2]


def _attribute(element, name):
    for key, value in element.attrib.items():
        if _local(key) == name:
            return value
    return None


def _children(element, name):
    return [child for child in element if _local(child.tag) == name]


def _relations(archive, part):
    folder, name = posixpath.split(part)
    tree = xml.etree.ElementTree.fromstring(archive.read(posixpath.join(folder, "_rels", name + ".rels")))
    found = {}
    for relation in tree:
        target = relation.attrib["Target"]
        path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found[relation.attrib["Id"]] = (relation.attrib["Type"].rpartition("/")[2], path)
    return found


def _rows(archive):
    root = _relations(archive, "")
    book_path = next(path for kind, path in root.values() if kind == "officeDocument")
    book = xml.etree.ElementTree.fromstring(archive.read(book_path))
    relations = _relations(archive, book_path)
    epoch_1904 = any(
        properties.attrib.get("date1904") in ("1", "true") for properties in _children(book, "workbookPr")
    )
    sheet = _children(_children(book, "sheets")[0], "sheet")[0]
    sheet_path = relations[sheet.attrib[next(key for key in sheet.attrib if _local(key) == "id" and "}" in key)]][1]
    shared = []
    for kind, path in relations.values():
        if kind == "sharedStrings":
            shared = [_rich_text(item) for item in xml.etree.ElementTree.fromstring(archive.read(path))]
    found = []
    for data in _children(xml.etree.ElementTree.fromstring(archive.read(sheet_path)), "sheetData"):
        for row in _children(data, "row"):
            found.append(_row(row, shared, epoch_1904))
    return found


ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")


def _rich_text(item):
    parts = []
    for child in item:
        if _local(child.tag) == "t":
            parts.append(child.text or "")
        elif _local(child.tag) == "r":
            parts.extend(text.text or "" for text in _children(child, "t"))
    return ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), "".join(parts))


REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?[0-9]+")


def _row(row, shared, epoch_1904):
    cells = []
    for cell in _children(row, "c"):
        reference = REFERENCE.fullmatch(_attribute(cell, "r") or "")
        if reference:
            position = 0
            for letter in reference.group(1):
                position = position * 26 + ord(letter) - 64
            while len(cells) < position - 1:
                cells.append(None)
        cells.append(_cell(cell, shared, epoch_1904))
    return cells


def _cell(cell, shared, epoch_1904):
    kind = cell.attrib.get("t", "n")
    if kind == "inlineStr":
        return "".join(_rich_text(item) for item in _children(cell, "is"))
    value = next((child.text for child in _children(cell, "v")), None)
    if value is None:
        return "" if kind == "str" else None
    if kind == "s":
        return shared[int(value)]
    if kind == "str":
        return ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), value)
    if kind == "b":
        return value.strip() in ("1", "true")
    if kind == "e":
        return ErrorCell(value)
    if kind == "d":
        return DateCell(value)
    serial = Serial(_plain(value))
    serial.epoch_1904 = epoch_1904
    return serial


def _plain(value):
    """A workbook's number is a double: the shortest decimal that tells it, without exponent."""
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("no number")
    text = format(decimal.Decimal(repr(number)), "f")
    return text[:-2] if text.endswith(".0") else text
