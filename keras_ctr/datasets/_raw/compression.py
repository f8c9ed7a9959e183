"""Plain and compressed files as blocks of whole lines."""

import bz2
import csv
import gzip
import lzma
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

BLOCK = 2**25  # bytes of text parsed at once: 130,000 rows of Criteo
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COUNTED = 2**16  # bytes looked at in one go, which stay in the cache
COMPRESSIONS = (".gz", ".xz", ".zip", ".bz2")
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, OSError)


def suffix(path):
    """The suffix that tells the format, without that of the compression: `.csv` of `a.csv.gz`."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return stem.suffix.lower()


def first_line(path):
    """Returns the first line of a file as bytes.

    Raises:
        ValueError: the file is empty, or damaged.
    """
    with _Opened(path) as (file, _):
        line = _read(file.readline, path)
    if not line:
        raise ValueError(f"{path} must not be empty. Received: 0 bytes")
    return line.removeprefix(BYTE_ORDER_MARK)


def line_blocks(path, quotes, progress, start=(0, 0)):
    """Yields blocks of whole rows; the next one is decompressed while one is dealt with.

    Args:
        path: the file.
        quotes: the separator of the fields, if a newline between `"` quotes ends no row; or `None`.
        progress: called with the number of bytes of the file, as it lies on disk, just read.
        start: where to go on, as an earlier call said; the blocks are those that it would have
            yielded.

    Yields:
        `(block, end)`: bytes, and where they end: numbers of bytes of the (decompressed) text that
        have been yielded, and that have been read.

    Raises:
        ValueError: the file is empty, or damaged.
    """
    (begin, total), read = start, 0
    with _Opened(path) as (file, position), ThreadPoolExecutor(1) as pool:
        _read(_pass, path, file, begin)
        rest = _read(file.read, path, total - begin) if total > begin else b""
        ahead = pool.submit(_read, file.read, path, BLOCK)
        while chunk := ahead.result():
            first, total = total == 0, total + len(chunk)
            if first:
                chunk = chunk.removeprefix(BYTE_ORDER_MARK)
            progress(position() - read)
            read = position()
            ahead = pool.submit(_read, file.read, path, BLOCK)
            if quotes is None:  # one copy of the text is enough
                end = chunk.rfind(b"\n") + 1
                parts = (rest, memoryview(chunk)[:end]) if end else ()
                block, rest = b"".join(parts), chunk[end:] if end else rest + chunk
            else:
                block = rest + chunk
                end = _last_row_end(block, quotes)
                block, rest = block[:end], block[end:]
            if block:
                yield block, (total - len(rest), total)
    if not total:
        raise ValueError(f"{path} must not be empty. Received: 0 bytes")
    if rest:
        yield rest + b"\n", (total, total)


def _pass(file, count):
    """Goes on by so many bytes; compressed ones have to be read."""
    if file.seekable() and not hasattr(file, "peek"):
        file.seek(count)
        return
    while count:
        piece = file.read(min(count, BLOCK))
        if not piece:
            return
        count -= len(piece)


class _Opened:
    """Opens a plain or compressed file: `with _Opened(path) as (file, bytes read so far)`."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        self.disk = open(self.path, "rb")  # noqa: SIM115
        try:
            self.file = self._decompressed()
        except BaseException:
            self.disk.close()
            raise
        return self.file, self.disk.tell

    def __exit__(self, *error):
        self.file.close()
        self.disk.close()

    def _decompressed(self):
        kind = self.path.suffix.lower()
        if kind == ".gz":
            return gzip.GzipFile(fileobj=self.disk)
        if kind == ".xz":
            return lzma.LZMAFile(self.disk)
        if kind == ".bz2":
            return bz2.BZ2File(self.disk)
        if kind == ".zip":
            archive = _read(zipfile.ZipFile, self.path, self.disk)
            inside = [
                name
                for name in archive.namelist()
                if not name.endswith("/") and not name.startswith("__MACOSX")
            ]
            if len(inside) != 1:
                raise ValueError(
                    f"{self.path} must hold one file. Received: {', '.join(inside) or 'none'}"
                )
            return archive.open(inside[0])
        return self.disk


def _read(read, path, *args):
    """Calls `read`; a damaged file becomes an error that names it."""
    try:
        return read(*args)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise ValueError(f"{path} is truncated or damaged: {error}") from error


def count(block, character):
    """How often a character of one byte is in a block; as fast as memory, and without the GIL."""
    data, sought = np.frombuffer(block, np.uint8), ord(character)
    starts = range(0, len(data), COUNTED)
    return int(sum(np.count_nonzero(data[at : at + COUNTED] == sought) for at in starts))


def _last_row_end(block, quotes):
    """Where the last whole row ends."""
    end = block.rfind(b"\n") + 1
    if block.count(b'"', 0, end) % 2 == 0:
        return end
    # Between quotes at the last newline, or a stray quote in a field: let `csv` tell.
    lines = [line + "\n" for line in block[:end].decode("latin-1").split("\n")[:-1]]
    reader, whole = csv.reader(lines, delimiter=quotes, strict=True), 0
    try:
        for _ in reader:
            whole = reader.line_num
    except csv.Error:
        pass  # the row that began after line `whole` does not end in this block
    # A row may be longer than a block, but a quote that is never closed must not fill the memory.
    return sum(map(len, lines[:whole])) if whole or len(block) < 4 * BLOCK else end
