"""Pairs of columns whose combinations tell more of the label than both columns apart."""

import itertools

import numpy as np

ROWS = 200_000  # looked at
COLUMNS = 16  # looked at: those that tell most by themselves
FEWEST = 1000  # rows, below which no pair is taken
PRIOR = 5.0  # rows as expected that each value is given
PRIOR_OF_PAIR = 1.0
GAIN = 0.02  # of the log loss, which a pair must take away (0.01 helped less than it hurt)
CERTAIN = 6.0  # standard errors; there are many pairs


def interactions(codes, y, most):
    """Finds pairs of columns that interact.

    From half of the rows, the odds of a click are estimated for every value of both columns, as if
    these acted apart, and then for every combination; the other half says how much smaller the log
    loss is with combinations (both ways round). The pair with most gain is taken, and the others
    are judged again with what it tells: one may only repeat it. Our choice.

    Args:
        codes: `{column: int64 (n,), numbers from 0 in the place of values}`.
        y: labels, float64 `(n,)`.
        most: largest number of pairs.

    Returns:
        List of `(share of the log loss that the pair takes away, column, column)`, best first.
    """
    if len(y) < FEWEST or np.ptp(y) == 0 or len(codes) < 2 or not most:
        return []
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(y))[:ROWS]
    y, codes = y[rows], {name: values[rows] for name, values in codes.items()}
    half = np.arange(len(y)) % 2 == 0
    halves = [_Half(codes, y, fit) for fit in (half, ~half)]
    names = sorted(codes, key=lambda name: -sum(each.gain_of(name).mean() for each in halves))
    order, found = list(codes), []
    pairs = list(itertools.combinations(names[:COLUMNS], 2))
    while pairs and len(found) < most:
        gains = {pair: _gain(halves, pair) for pair in pairs}
        pairs = [pair for pair in pairs if gains[pair] > GAIN]
        if pairs:
            best = max(pairs, key=gains.get)
            pairs.remove(best)
            found.append((gains[best], *sorted(best, key=order.index)))
            for each in halves:
                each.take(*best)
    return found


def _gain(halves, pair):
    """The share of the log loss that a pair takes away; 0 where that is not certain."""
    losses = [each.losses(*pair) for each in halves]
    apart, gain = (np.concatenate(parts) for parts in zip(*losses, strict=True))
    certain = gain.mean() / max(gain.std(), 1e-12) * np.sqrt(len(gain))
    return gain.mean() / apart.mean() if certain > CERTAIN else 0.0


class _Half:
    """What is learnt from the rows `fit` and judged on the others."""

    def __init__(self, codes, y, fit):
        self.codes, self.y, self.fit = codes, y, fit
        mean = np.clip(y[fit].mean(), 1e-6, 1 - 1e-6)
        self.start = np.full(len(y), np.log(mean / (1 - mean)))
        self.sizes = {name: int(values.max()) + 1 for name, values in codes.items()}

    def gain_of(self, name):
        """How much smaller the loss is with one column, of each row judged."""
        z = self._raised(self.start, self.codes[name], self.sizes[name], PRIOR)
        return self._loss(self.start) - self._loss(z)

    def losses(self, one, other):
        """The loss of both columns apart, and what their combinations take away from it."""
        apart, together = self._logits(one, other)
        loss = self._loss(apart)
        return loss, loss - self._loss(together)

    def take(self, one, other):
        """Starts from what a pair tells, from here on."""
        self.start = self._logits(one, other)[1]

    def _logits(self, one, other):
        z = self.start
        for name in (one, other):
            z = self._raised(z, self.codes[name], self.sizes[name], PRIOR)
        pairs = self.codes[one] * self.sizes[other] + self.codes[other]
        distinct, pairs = np.unique(pairs, return_inverse=True)
        return z, self._raised(z, pairs, len(distinct), PRIOR_OF_PAIR)

    def _raised(self, z, groups, size, prior):
        """Logits, raised in each group by the log of the odds met over the odds expected."""
        fit, p = self.fit, 1 / (1 + np.exp(-z))
        rows = np.bincount(groups[fit], minlength=size)
        clicks = np.bincount(groups[fit], weights=self.y[fit], minlength=size)
        expected = np.bincount(groups[fit], weights=p[fit], minlength=size)
        more = np.log(clicks + prior) - np.log(expected + prior)
        less = np.log(rows - clicks + prior) - np.log(rows - expected + prior)
        return z + (more - less)[groups]

    def _loss(self, z):
        judged = ~self.fit
        return np.logaddexp(0, np.where(self.y[judged] == 1, -z[judged], z[judged]))
