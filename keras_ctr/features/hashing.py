"""MurmurHash3 of texts: a hash that serving engines compute, too."""

import numpy as np


def murmur3(texts):
    """Returns the 32-bit MurmurHash3 (x86, seed 0) of the UTF-8 bytes of texts.

    The one of ONNX Runtime's `com.microsoft.MurmurHash3`. The algorithm is Austin Appleby's, in
    the public domain; this is our own writing of it.

    Args:
        texts: list of `n` strings.

    Returns:
        uint32 `(n,)`.
    """
    data = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, data), "int64", len(data))
    found = np.zeros(len(data), "uint32")
    for blocks in np.unique(lengths // 4):
        rows = np.flatnonzero(lengths // 4 == blocks)
        width = 4 * int(blocks) + 4  # the last block is what is left, filled up with zeros
        joined = b"".join(data[row].ljust(width, b"\0") for row in rows)
        words = np.frombuffer(joined, "<u4").reshape(len(rows), -1)
        mixed = _rotated(words * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        h = np.zeros(len(rows), "uint32")
        for at in range(int(blocks)):
            h = _rotated(h ^ mixed[:, at], 13) * np.uint32(5) + np.uint32(0xE6546B64)
        h = h ^ mixed[:, -1] ^ lengths[rows].astype("uint32")
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
        found[rows] = h ^ (h >> np.uint32(16))
    return found


def _rotated(x, bits):
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))
