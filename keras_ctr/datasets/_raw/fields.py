"""`Fields`: a block of text cut into fields, which become columns when they are asked for."""

import numpy as np
import polars as pl

from keras_ctr.features.packing import KEPT, LONGEST, Packed

PIECE = 2**18  # bytes of text cut in one go, which stay in the cache


def locate(block, lines, width, separator):
    """Cuts a block of lines at separators.

    Args:
        block: bytes of whole lines, without quotes and NUL.
        lines: how many.
        width: number of fields of a line.
        separator: character of one byte.

    Returns:
        `(keys, longest)`: uint64 `(width, lines)`, the first 8 bytes of each field as `packing` has
        them, and the number of bytes of the longest field of every column (9: more than 8). `None`
        if a line has another number of fields.
    """
    data = np.frombuffer(block, np.uint8)
    tail = len(data) - LONGEST + 1  # from here on there are no eight bytes left
    if tail <= 0:
        return None
    windows = np.ndarray((tail,), "V8", buffer=block, strides=(1,))
    columns, longest = np.empty((width, lines), np.uint64), np.zeros(width, np.intp)
    mark, row, low = ord(separator), 0, 0
    while low < len(data):
        high = block.rfind(b"\n", low, low + PIECE) + 1
        if not high:
            return None  # a long line
        piece = data[low:high]
        is_cut = piece == ord("\n")
        rows = np.count_nonzero(is_cut)
        is_cut |= piece == mark
        cut = np.flatnonzero(is_cut)
        if len(cut) != width * rows or row + rows > lines:
            return None
        if (piece.take(cut[width - 1 :: width]) != ord("\n")).any():
            return None
        start = np.empty(len(cut), np.intp)
        start[0] = 0
        np.add(cut[:-1], 1, out=start[1:])
        size = np.minimum(cut - start, LONGEST + 1)
        if low < tail:
            found = windows[low:high].take(start, mode="clip").view(np.uint64)
        else:
            found = np.empty(len(cut), np.uint64)
        if high > tail:
            for at in np.flatnonzero(start >= tail - low):
                text = block[low + start[at] :][:LONGEST].ljust(LONGEST, b"\0")
                found[at] = np.frombuffer(text, np.uint64)[0]
        found &= KEPT.take(size, mode="clip")
        columns[:, row : row + rows] = found.reshape(rows, width).T
        np.maximum(longest, size.reshape(rows, width).max(axis=0), out=longest)
        low, row = high, row + rows
    return columns, longest


class Fields:
    """The columns of a block. As a data frame, as far as a `Source` needs one.

    Args:
        names: of the fields of a line.
        numbers: names of those that hold numbers.
        located: what `locate` returned.
        read: function of names; returns these columns as a data frame, for fields that are long.
    """

    def __init__(self, names, numbers, located, read):
        self._names, self._numbers = names, numbers
        self._keys, self._longest = located
        self._read = read
        self._packed, self._columns, self._long = {}, {}, None
        self.columns = list(names)

    def __len__(self):
        return self._keys.shape[1]

    def packed(self, name):
        """A column of short fields as `Packed`, `None` where one is long or it is a made one."""
        if name in self._columns or self._longest[self._names.index(name)] > LONGEST:
            return None
        if name not in self._packed:
            import pandas as pd  # here: it takes long to import

            self._packed[name] = Packed(*pd.factorize(self._keys[self._names.index(name)]))
        return self._packed[name]

    def numbers_are(self):
        """Whether the columns of numbers hold nothing else."""
        for name in self._numbers:
            packed = self.packed(name)
            if packed is None:
                continue  # reading it will tell
            if (packed.numbers.is_null() & pl.Series(packed.keys != 0)).any():
                texts = packed.texts().filter(packed.numbers.is_null()).drop_nulls()
                if (texts.str.strip_chars() != "").any():
                    return False
        long = [name for name in self._numbers if self.packed(name) is None]
        if long:
            self._long = self._read(self._long_ones())
        return True

    def __getitem__(self, name):
        if name not in self._columns:
            packed = self.packed(name)
            if packed is None:
                if self._long is None:
                    self._long = self._read(self._long_ones())
                self._columns[name] = self._long[name]
            else:
                values = packed.numbers if name in self._numbers else packed.texts()
                codes = pl.Series(packed.codes.astype(np.uint32))
                return values[codes].alias(name)  # made anew: it is asked for once
        return self._columns[name]

    def select(self, names):
        """The block with these columns alone, or with some of them if it is a list."""
        return self._like(list(names), self._columns)

    def drop(self, *names):
        """The block without some columns."""
        return self._like([name for name in self.columns if name not in names], self._columns)

    def with_columns(self, **columns):
        """The block with further columns, or others in their place: polars series."""
        names = list(dict.fromkeys([*self.columns, *columns]))
        return self._like(names, self._columns | columns)

    def frame(self, names):
        """Columns as a data frame."""
        found = [self[name].alias(name) for name in names]
        return pl.DataFrame(found)

    def _like(self, names, columns):
        made = Fields.__new__(Fields)
        made.__dict__ |= self.__dict__ | {"columns": names, "_columns": dict(columns)}
        return made

    def _long_ones(self):
        chosen = zip(self._names, self._longest, strict=True)
        return [n for n, size in chosen if size > LONGEST and n in self.columns]
