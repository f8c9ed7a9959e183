"""`Negatives`: which rows an epoch holds that takes all positives and a share of the negatives."""

import numpy as np


class Negatives:
    """Draws, block by block, the rows of an epoch: every positive, and a share of the negatives.

    Systematic sampling over the blocks and simple random sampling within each: every negative has
    the same chance, an epoch has the same number of rows as any other, and a block can be drawn
    without the others. Needs one pass over the labels, made when the first number is asked for.

    Args:
        split: `Split` with the encoded rows.
        share: the share of the negatives in an epoch, in (0, 1).
        block: rows of a block.

    Raises:
        ValueError: the share leaves no negative of those there are.
    """

    def __init__(self, split, share, block):
        self._split = split
        self._block = block
        self._last = None, None  # epoch, and what each block keeps in it
        starts = range(0, split.rows, block)
        self._there = [int(np.sum(self._labels(at) < 0.5)) for at in range(len(starts))]
        self._upto = np.cumsum([0, *self._there])
        total = int(self._upto[-1])
        self.kept = round(share * total)
        if total and not self.kept:
            raise ValueError(
                f"`negatives` must leave a negative of the {total} there are. "
                f"Received: negatives={share}"
            )
        self.num_rows = split.rows - total + self.kept

    def heights(self, seed, epoch):
        """Returns the number of rows that each block has in an epoch, `(blocks,)`."""
        rows = np.minimum(self._block, self._split.rows - np.arange(len(self._there)) * self._block)
        return rows - self._there + self._kept_of_block(seed, epoch)

    def rows(self, block, seed, epoch):
        """Returns the numbers of the rows that a block has in an epoch, ascending."""
        negative = self._labels(block) < 0.5
        [numbers] = np.nonzero(negative)
        kept = self._kept_of_block(seed, epoch)[block]
        rng = np.random.default_rng([seed, epoch, block, 1])
        chosen = ~negative
        chosen[rng.choice(numbers, kept, replace=False, shuffle=False)] = True
        return block * self._block + np.flatnonzero(chosen)

    def _kept_of_block(self, seed, epoch):
        total = int(self._upto[-1])
        if not total:
            return np.zeros(len(self._there), "int64")
        key, found = self._last
        if key == (seed, epoch):
            return found
        start = int(np.random.default_rng([seed, epoch, 1]).integers(total))
        # In Python's integers: the product of two numbers of rows may not fit into 64 bits.
        marks = [(self.kept * int(upto) + start) // total for upto in self._upto]
        found = np.diff(marks)
        self._last = (seed, epoch), found
        return found

    def _labels(self, block):
        start = block * self._block
        end = min(start + self._block, self._split.rows)
        return np.asarray(self._split.slice("label", start, end)).reshape(-1)
