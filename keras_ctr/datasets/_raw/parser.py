"""`Parser`: one block of delimited text as a frame."""

import csv
from functools import partial

import numpy as np
import polars as pl

from keras_ctr.datasets._raw.compression import count
from keras_ctr.datasets._raw.fields import Fields, locate
from keras_ctr.features.tokens import spelled


class Parser:
    """Turns a block of whole lines into a frame.

    Args:
        located: whether `Fields` may stand for a frame, where lines are regular.
    """

    def __init__(self, path, columns, numbers, separator, quoted, encoding, refuse, located=False):
        self.located = located
        self.path, self.columns, self.numbers = path, columns, numbers
        self.separator, self.quoted, self.encoding = separator, quoted, encoding
        self.refuse = refuse

    def __call__(self, block, first_line):
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        if self.encoding != "utf-8":
            block = block.decode(self.encoding).encode()
        if not block:
            return pl.DataFrame()
        rows = count(block, "\n")
        if b"\0" in block or (b"\r" in block and not (self.quoted and b'"' in block)):
            return self._row_by_row(block, first_line)
        found = self._fields(block, rows) if self.located else None
        if found is not None:
            return found
        if _is_utf8(block) and self._regular(block, rows):
            frame = self._regular_rows(block, rows)
            if frame is not None:
                return frame
        return self._row_by_row(block, first_line)

    def _fields(self, block, rows):
        """The block as `Fields`, `None` if anything about it is out of the ordinary."""
        if (self.quoted and b'"' in block) or not _is_utf8(block):
            return None
        located = locate(block, rows, len(self.columns), self.separator)
        if located is None:
            return None
        read = partial(self._read, block, self.numbers)
        found = Fields(self.columns, self.numbers, located, read)
        try:
            return found if found.numbers_are() else None
        except pl.exceptions.PolarsError:
            return None

    def _regular_rows(self, block, rows):
        """The rows of a block without malformed ones, else `None`."""
        try:
            frame = self._read(block, self.numbers)
        except pl.exceptions.PolarsError:  # fields too many, or text among the numbers
            try:
                frame, wrong = self._with_numbers(self._read(block, ()))
            except pl.exceptions.PolarsError:
                return None
            if wrong:
                return None  # but for TRUE and FALSE among the numbers
        quotes = self.quoted and b'"' in block  # between which a line may end
        return frame if quotes or len(frame) == rows else None

    def _read(self, block, numbers, only=None):
        return pl.read_csv(
            block,
            has_header=False,
            columns=None if only is None else [self.columns.index(name) for name in only],
            schema={c: pl.Float64 if c in numbers else pl.String for c in self.columns},
            separator=self.separator,
            quote_char='"' if self.quoted else None,
        )

    def _regular(self, block, rows):
        """Whether every line has the right number of fields (and quotes only around fields).

        Without quotes, whether there are enough on the whole: polars refuses a line with too many.
        """
        if not (self.quoted and b'"' in block):
            return count(block, self.separator) == (len(self.columns) - 1) * rows
        data = np.frombuffer(block, np.uint8)
        is_end = data == ord("\n")
        cut = is_end | (data == ord(self.separator))
        quote = data == ord('"')
        inside = np.logical_xor.accumulate(quote)
        beside = np.concatenate([[True], cut | quote, [True]])
        opening, closing = quote & inside, quote & ~inside
        if not (beside[:-2][opening].all() and beside[2:][closing].all()):
            return False
        cut &= ~inside
        at = np.flatnonzero(cut)
        if len(at) % len(self.columns):
            return False
        ends = is_end[at].reshape(-1, len(self.columns))
        return bool(ends[:, -1].all() and not ends[:, :-1].any())

    def _row_by_row(self, block, first_line):
        text = block.decode("utf-8", errors="surrogateescape")
        split = self._quoted_rows if self.quoted else self._plain_rows
        rows, lines = [], []
        for line, row in split(text.split("\n")[:-1], first_line):
            text = "".join(row)
            if not _is_text(text):
                self.refuse(self.path, line, f"bytes that are no {self.encoding} text")
            elif "\0" in text:
                self.refuse(self.path, line, "a NUL byte, which no text has")
            elif "\r" in text and not self.quoted:
                self.refuse(self.path, line, "a carriage return (CR) that ends no line")
            else:
                rows.append(row)
                lines.append(line)
        frame = pl.DataFrame(rows, schema=dict.fromkeys(self.columns, pl.String), orient="row")
        frame = frame.with_columns(pl.all().replace("", None))
        frame, wrong = self._with_numbers(frame)
        for at in sorted(wrong):
            name, value = wrong[at]
            reason = f"column {name!r} must hold numbers, not {value!r}"
            self.refuse(self.path, lines[at], reason)
        if not wrong:
            return frame
        return frame.filter(~pl.int_range(len(frame), eager=True).is_in(list(wrong)))

    def _plain_rows(self, lines, first_line):
        """Yields `(line number, fields)`; blank lines are no rows, unless a row is one field."""
        for line, text in enumerate(lines, first_line):
            row = text.split(self.separator)
            if len(row) == len(self.columns):
                yield line, row
            elif text:
                self._refuse_width(line, row)

    def _quoted_rows(self, lines, first_line):
        """The same where quotes count. A quote that is never closed spoils its own line only."""
        at = 0
        while at < len(lines):
            rest = (lines[line] + "\n" for line in range(at, len(lines)))
            reader = csv.reader(rest, delimiter=self.separator, strict=True)
            start = at
            try:
                for row in reader:
                    end = start + reader.line_num
                    row = row or [""]
                    if len(row) == len(self.columns):
                        yield first_line + at, row
                    elif row != [""]:
                        self._refuse_width(first_line + at, row)
                        if end > at + 1:  # read the lines that the row swallowed again
                            at += 1
                            break
                    at = end
            except csv.Error as error:
                self.refuse(self.path, first_line + at, f"quotes that do not match ({error})")
                at += 1

    def _refuse_width(self, line, row):
        reason = f"a row must have {len(self.columns)} fields, not {len(row)}"
        self.refuse(self.path, line, reason)

    def _with_numbers(self, frame):
        """Returns a frame of text with its numbers, and `{row: (column, text that is none)}`."""
        wrong = {}
        for name in frame.columns:
            if name not in self.numbers:
                continue
            text = frame[name].str.strip_chars().replace("", None)
            number = spelled(text)
            for at in (number.is_null() & text.is_not_null()).arg_true():
                wrong.setdefault(at, (name, text[at]))
            frame = frame.with_columns(number)
        return frame, wrong


def _is_utf8(block):
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_text(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
