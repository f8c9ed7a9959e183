"""`OneFile`: a source with one raw file, split by stratified folds as the x4 benchmarks do."""

from pathlib import Path

import numpy as np
import polars as pl

from keras_ctr.datasets.sources import SPLITS, Source
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

    A subclass says in `rows` how to read the file. Labels are read in a pass of their own, since
    the folds depend on how many rows each class has.
    """

    passes = 3  # the first of them over labels alone
    _folds = None

    def rows(self, path, reader):
        """Yields the frames of the raw file, with the columns of the schema."""
        raise NotImplementedError

    def label_rows(self, path, reader):
        """As `rows`, where nothing but the label is looked at."""
        return self.rows(path, reader)

    def frames(self, root, reader):
        (path,) = self.files(root)
        folds, start = self._find_folds(path, reader), 0
        for frame in self.rows(path, reader):
            fold = folds[start : start + len(frame)]
            start += len(frame)
            for split, mask in zip(SPLITS, (fold > 1, fold == 1, fold == 0), strict=True):
                if mask.any():
                    yield split, frame.filter(pl.Series(mask))

    def _find_folds(self, path, reader):
        state = (str(path), Path(path).stat().st_mtime_ns, reader.on_bad_rows)
        if self._folds is None or self._folds[0] != state:
            name, skipped, y, start = self.schema().label, reader.skipped, [], 0
            for frame in self.label_rows(path, reader):
                found = labels(frame[name], name, lambda at, start=start: start + at)
                y.append(found[:, 0].astype(np.int8))
                start += len(frame)
            if not start:
                raise ValueError(f"{path} must hold rows. Received: none")
            self._folds = state, stratified_folds(np.concatenate(y))
            reader.skipped = skipped  # the same rows are met, and counted, again
        return self._folds[1]
