"""Raw files in: `Reader` streams delimited text and parquet as polars frames of bounded size.

Text may be plain or compressed (.gz, .xz, .bz2, .zip). It is read in blocks of `BLOCK` bytes cut at
line ends; a regular block is parsed by polars on all cores, an irregular one row by row, so that a
malformed row is named with its file and line.
"""

import csv
import logging
from functools import partial
from pathlib import Path

import polars as pl

from keras_ctr.datasets._ahead import in_order
from keras_ctr.datasets._raw.compression import count, first_line, line_blocks, suffix
from keras_ctr.datasets._raw.parser import Parser

PARQUET = (".parquet", ".pq")
PARQUET_ROWS = 2**18  # rows of parquet read at once
SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}

log = logging.getLogger("keras_ctr")


class Reader:
    """Streams raw files as data frames.

    Args:
        on_bad_rows: `"error"` raises at the first malformed row (a wrong number of fields, bytes
            that are no text, text where a number is required); `"skip"` leaves it out and counts.

    Attributes:
        skipped: number of rows left out so far.
        skipped_in: the same by file, `{path: rows}`.
        position: where the last frame ended, as JSON can hold it.
        located: whether a frame of text may be `Fields`, which hold what a `Source` needs of it.
        progress: called with the number of bytes of the file (as it lies on disk) just read.
    """

    def __init__(self, on_bad_rows="error"):
        if on_bad_rows not in ("error", "skip"):
            raise ValueError(
                f"`on_bad_rows` must be 'error' or 'skip'. Received: on_bad_rows={on_bad_rows!r}"
            )
        self.on_bad_rows = on_bad_rows
        self.skipped, self.skipped_in = 0, {}
        self.position = None
        self.located = False
        self._resumed = None
        self._warned = False
        self.progress = lambda count: None

    def resume(self, position):
        """Goes on where a frame ended: what was read before is not read again.

        The files must be asked for in the same order as then.

        Args:
            position: what `position` was.
        """
        self._resumed = position

    def rows_before(self, path):
        """How many rows of a file have been read before it is gone on with."""
        known = self._resumed is not None and self._resumed["path"] == str(path)
        return self._resumed["rows"] if known else 0

    def _start(self, path):
        """Where to begin a file: `None` if it was read before, else an earlier position, or {}."""
        if self._resumed is None:
            return {}
        if self._resumed["path"] != str(path):
            self.progress(Path(path).stat().st_size)
            return None
        found, self._resumed = self._resumed, None
        return found

    def table(self, path, columns, numbers=(), optional=(), extra=False, **how):
        """Yields the rows of a file whose columns have names (delimited text, or parquet).

        Args:
            path: the file; its suffix tells format, separator and compression.
            columns: names of the columns, in any order.
            numbers: those that must hold numbers. They come as float64, all others as text (or as
                parquet stores them); null where missing.
            optional: those of `columns` that may be absent.
            extra: whether the file may have further columns, which are left out.
            how: options of `text`.

        Raises:
            ValueError: columns missing or not expected, malformed rows, a damaged or empty file.
        """
        names = self.names(path, **how)
        if suffix(path) in PARQUET:
            read = self._parquet(path)
        else:
            read = self.text(path, names, [n for n in numbers if n in names], header=True, **how)
        missing = [name for name in columns if name not in names and name not in optional]
        unexpected = [name for name in names if name not in columns and not extra]
        if missing or unexpected:
            raise ValueError(
                f"{path} must have the columns {', '.join(columns)}. Received: missing "
                f"{', '.join(missing) or 'none'}; not expected {', '.join(unexpected) or 'none'}"
            )
        for frame in read:
            yield frame.select([name for name in columns if name in names])

    def names(self, path, **how):
        """Names of the columns of a file that has names."""
        if suffix(path) not in PARQUET:
            return self.first_row(path, **how)
        try:
            return list(pl.read_parquet_schema(path))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{path} is truncated or damaged: {error}") from error

    def text(
        self,
        path,
        columns,
        numbers=(),
        separator=None,
        header=False,
        quoted=True,
        encoding="utf-8",
    ):
        """Yields the rows of a delimited text file, given its columns in order.

        Args:
            path: the file, plain or compressed. Line ends may be LF or CRLF.
            columns: the name of every field of a row.
            numbers: names of the columns that must hold numbers.
            separator: one character; by default that of the suffix (`,` for .csv, else a tab).
            header: whether the first line is not data.
            quoted: whether `"` quotes fields, or is a character like others.
            encoding: `"utf-8"` or `"latin-1"`.
        """
        columns = list(columns)
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"{path} must name each column once. Twice: {', '.join(twice)}")
        separator = separator or SEPARATORS.get(suffix(path), "\t")
        how = (path, columns, set(numbers), separator, quoted, encoding)
        start = self._start(path)
        if start is None:
            return
        begin, rows = tuple(start.get("bytes", (0, 0))), start.get("rows", 0)

        def blocks():
            line = start.get("line", 1)
            for block, end in line_blocks(
                path, separator if quoted else None, self.progress, begin
            ):
                lines = count(block, "\n")
                if header and line == 1:
                    yield block.partition(b"\n")[2], 2, end, line + lines
                else:
                    yield block, line, end, line + lines
                line += lines

        def parsed(item):
            block, line, *after = item
            refused = []
            parse = Parser(*how, partial(self._noted, refused), self.located)
            return parse(block, line), refused, *after

        for frame, refused, end, line in in_order(parsed, blocks()):
            for what in refused:
                self.refuse(*what)
            rows += len(frame)
            if len(frame):
                self.position = {"path": str(path), "bytes": end, "line": line, "rows": rows}
                yield frame

    def first_row(self, path, separator=None, encoding="utf-8", **how):
        """The fields of the first line: the header, or the first row of a file without one."""
        separator = separator or SEPARATORS.get(suffix(path), "\t")
        line = first_line(path).decode(encoding, errors="replace").rstrip("\r\n")
        if not how.get("quoted", True):
            return line.split(separator)
        return next(csv.reader([line], delimiter=separator))

    def _parquet(self, path):
        begin = self._start(path)
        if begin is None:
            return
        table = pl.scan_parquet(path)
        rows = table.select(pl.len()).collect().item()
        size = Path(path).stat().st_size
        for start in range(begin.get("rows", 0), rows, PARQUET_ROWS):
            frame = table.slice(start, PARQUET_ROWS).collect()
            self.position = {"path": str(path), "rows": start + len(frame)}
            yield frame
            self.progress(size * len(frame) // rows)

    def _noted(self, refused, *what):
        """Notes a malformed row met ahead of those before it; where it is an error, it is one."""
        if self.on_bad_rows == "error":
            self.refuse(*what)
        refused.append(what)

    def refuse(self, path, line, reason):
        """Deals with a malformed row."""
        if self.on_bad_rows == "error":
            raise ValueError(
                f"{path}, line {line}: {reason}. (`on_bad_rows='skip'` leaves such rows out.)"
            )
        if not self._warned:
            log.warning("%s, line %d: %s. Such rows are skipped.", path, line, reason)
            self._warned = True
        self.skipped += 1
        self.skipped_in[str(path)] = self.skipped_in.get(str(path), 0) + 1
