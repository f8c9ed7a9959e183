"""Short texts as numbers: `pack` and `unpack`, up to eight bytes of UTF-8 in 64 bits.

Equal texts have equal numbers and no others have, so what is done with hashes elsewhere needs no
second look here. The bytes are in memory in the order of the text, and zeros follow.
"""

from dataclasses import dataclass

import numpy as np

from keras_ctr.features.tokens import plain_text

LONGEST = 8  # bytes
PIECE = 2**20  # texts made at a time
# By number of bytes: what to keep of the eight that begin where a text does.
KEPT = np.array(
    [int(np.frombuffer(b"\xff" * at + b"\0" * (8 - at), np.uint64)[0]) for at in range(9)],
    np.uint64,
)


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


def plain_keys(keys):
    """As `tokens.plain`, of numbers: returns them with "14.0" as "14" and "True" as "true"."""
    point = keys ^ np.uint64(0x2E2E2E2E2E2E2E2E)  # where a byte is a point, it becomes zero
    ones, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    odd = (point - ones) & ~point & high != 0  # the well-known test for a zero byte
    odd |= (keys == np.uint64(pack("True"))) | (keys == np.uint64(pack("False")))
    if not odd.any():
        return keys
    found = keys.copy()
    for at in np.flatnonzero(odd):
        found[at] = pack(plain_text(keys[at : at + 1].view("S8")[0].decode()))
    return found
