"""How many rows a batch has where nobody says. No Keras."""

import math


def batch_size_for(rows):
    """Returns the rows per batch for so many to train on: 1/128, as a power of two in [32, 4096].

    So an epoch is some hundred steps whatever its size, until batches are as large as what BARS
    uses on logs. Our choice.
    """
    return int(min(4096, max(32, 2 ** round(math.log2(max(rows, 1) / 128)))))
