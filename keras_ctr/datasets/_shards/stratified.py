"""`OneFile`: a source with one raw file, split by stratified folds as the x4 benchmarks do."""

import numpy as np

from keras_ctr.datasets.sources import Source
from keras_ctr.features.tokens import labels

FOLDS, SEED = 10, 2018  # AutoInt, arXiv:1810.11921, and BARS after it


def stratified_folds(y, folds=FOLDS, seed=SEED):
    """Returns the fold of every row as int8, equal to that of scikit-learn 0.19.1.

    That is `StratifiedKFold(folds, shuffle=True, random_state=seed)`: the rows of each class are
    shuffled by a generator of their own, all of the same seed, and cut into folds whose sizes
    differ by at most one. (Since version 0.22 scikit-learn deals out classes differently.)

    Args:
        y: labels, one per row.
        folds: number of folds.
        seed: integer.
    """
    found = np.zeros(len(y), np.int8)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        count = max(len(rows), folds)
        order = np.arange(count)
        np.random.RandomState(seed).shuffle(order)
        sizes = np.full(folds, count // folds)
        sizes[: count % folds] += 1
        fold_of = np.empty(count, np.int8)
        fold_of[order] = np.repeat(np.arange(folds, dtype=np.int8), sizes)
        found[rows] = fold_of[: len(rows)]
    return found


class OneFile(Source):
    """One file of rows: fold 0 is the test split, fold 1 the validation split, 2 to 9 train.

    A subclass says in `rows` how to read the file.
    """

    resumable = True

    @property
    def decided_by(self):
        return (self.schema().label,)

    def rows(self, path, reader):
        """Yields the frames of the raw file, with the columns of the schema."""
        raise NotImplementedError

    def frames(self, root, reader):
        (path,) = self.files(root)
        name, start = self.schema().label, reader.rows_before(path)
        for frame in self.rows(path, reader):
            labels(frame[name], name, lambda at, start=start: start + at)
            start += len(frame)
            yield None, frame

    def split(self, frames):
        name = self.schema().label
        y = [labels(frame[name], name, lambda at: at)[:, 0].astype(np.int8) for frame in frames]
        folds = stratified_folds(np.concatenate(y))
        splits = np.array([2, 1] + [0] * (FOLDS - 2), np.int8)[folds]
        return np.split(splits, np.cumsum([len(part) for part in y])[:-1])
