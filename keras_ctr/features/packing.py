"""Short texts as numbers: `pack` and `unpack`, up to eight bytes of UTF-8 in 64 bits.

Equal texts have equal numbers and no others have, so what is done with hashes elsewhere needs no
second look here. The bytes are in memory in the order of the text, and zeros follow.
"""

import sys
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_ctr.features.tokens import plain_text, spelled

LONGEST = 8  # bytes
PIECE = 2**20  # texts made at a time
# By number of bytes: what to keep of the eight that begin where a text does.
KEPT = np.array(
    [int(np.frombuffer(b"\xff" * at + b"\0" * (8 - at), np.uint64)[0]) for at in range(9)],
    np.uint64,
)
_HIGH = np.uint64(0x8080808080808080)
_ZEROS = np.uint64(0x3030303030303030)  # eight characters "0"
_ABOVE_NINE = np.uint64(0x4646464646464646)  # makes a byte above "9" one with its highest bit
_BYTES = np.uint64(256) ** np.arange(LONGEST, dtype=np.uint64)


@dataclass
class Packed:
    """A column of `n` short texts: row `i` holds `keys[codes[i]]`; 0 is the empty text.

    Attributes:
        codes: `(n,)` intp.
        keys: `(distinct,)` uint64, in the order of their first row.
    """

    codes: np.ndarray
    keys: np.ndarray

    def texts(self):
        """The distinct texts as a polars series, null for the empty one."""
        return unpack(self.keys)

    @cached_property
    def numbers(self):
        """What the distinct texts spell as numbers, see `numbers_of`."""
        return numbers_of(self.keys)


def pack(text):
    """Returns a text as an integer, `None` if it is too long."""
    data = text.encode()
    if len(data) > LONGEST or b"\0" in data:
        return None
    return int(np.frombuffer(data.ljust(LONGEST, b"\0"), np.uint64)[0])


def unpack(keys, empty=None):
    """Returns the texts of numbers as a polars series, with `empty` for the empty text."""
    import polars as pl

    parts = [
        pl.Series(keys[at : at + PIECE].view("S8").tolist(), dtype=pl.Binary).cast(pl.String)
        for at in range(0, max(len(keys), 1), PIECE)
    ]
    texts = pl.concat(parts)
    missing = keys == 0
    return texts.set(pl.Series(missing), empty) if missing.any() else texts


def numbers_of(keys):
    """Returns what short texts spell as numbers, a float64 polars series; else it is null.

    Whole numbers, which most are, are read eight digits at a time.
    """
    import polars as pl

    minus = (keys & np.uint64(0xFF)) == ord("-")
    digits = np.where(minus, keys >> np.uint64(8), keys)
    size = np.searchsorted(_BYTES, digits, side="right")  # by the highest byte that is not 0
    shift = (np.uint64(8) * (LONGEST - size).astype(np.uint64)) & np.uint64(63)
    aligned = (digits << shift) | (_ZEROS & ~(np.uint64(2**64 - 1) << shift))
    aligned = np.where(size == 0, _ZEROS, aligned)
    is_whole = ((aligned + _ABOVE_NINE) | (aligned - _ZEROS)) & _HIGH == 0
    is_whole &= (size > 0) & (sys.byteorder == "little")
    value = ((aligned & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561)) >> np.uint64(8)
    value = ((value & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    value = ((value & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32)
    found = pl.Series(np.where(minus, -1.0, 1.0) * value)
    others = np.flatnonzero(~is_whole)
    if len(others):
        texts = unpack(keys[others]).str.strip_chars()
        found = found.scatter(others, spelled(texts.set(texts == "", None)))
    return found


def plain_keys(keys):
    """As `tokens.plain`, of numbers: returns them with "14.0" as "14" and "True" as "true"."""
    point = keys ^ np.uint64(0x2E2E2E2E2E2E2E2E)  # where a byte is a point, it becomes zero
    odd = (point - np.uint64(0x0101010101010101)) & ~point & _HIGH != 0  # the test for such a byte
    odd |= (keys == np.uint64(pack("True"))) | (keys == np.uint64(pack("False")))
    if not odd.any():
        return keys
    found = keys.copy()
    for at in np.flatnonzero(odd):
        found[at] = pack(plain_text(keys[at : at + 1].view("S8")[0].decode()))
    return found
