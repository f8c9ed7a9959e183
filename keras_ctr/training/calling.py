"""`Called`: predictions of a few rows by one compiled call, without Keras's loop over batches."""

import keras
import numpy as np

from keras_ctr import backend

MOST = 1024  # rows; with more, the loop no longer counts


class Called:
    """A model that can be called on a small batch of arrays. To be mixed into `Trainer`."""

    _caller = (None, None)

    def can_be_called(self, x, options=None, verbose=0, most=MOST):
        """Whether `x` is a batch for `called`, of a model whose prediction is its call.

        Args:
            x: what `predict` is given.
            options: anything true for options that ask for Keras's loop.
            verbose: Keras's.
            most: rows; `None` for any number.
        """
        return (
            not options
            and verbose in ("auto", 0)
            and isinstance(x, dict)
            and all(isinstance(array, np.ndarray) for array in x.values())
            and 0 < len(next(iter(x.values()))) <= (most or np.inf)
            and type(self).predict_step is keras.Model.predict_step
            and not self.run_eagerly
        )

    def called(self, x):
        """Returns the probabilities `(N, 1)` of packed arrays, a NumPy array.

        Arrays of one row beside others of several are what all rows share. Where calls are compiled
        for each number of rows, rows of padding are added up to the next power of two, so that ten
        programs do for all of them.
        """
        rows = max(map(len, x.values()))
        compiled_in = self._recalibrated()
        if self._caller[0] is None or self._caller[1] is not compiled_in:
            object.__setattr__(self, "_caller", (backend.caller(self), compiled_in))
        more = 2 ** (rows - 1).bit_length() - rows
        if backend.SHAPES_ARE_COMPILED and more:
            padded = {key: np.pad(x[key], ((0, more), (0, 0))) for key in x if len(x[key]) == rows}
            x = {**x, **padded}
        return keras.ops.convert_to_numpy(self._caller[0](x))[:rows]

    def called_in_turn(self, x):
        """As `called`, for any number of rows."""
        rows = max(map(len, x.values()))
        parts = []
        for start in range(0, rows, MOST):
            part = slice(start, start + MOST)
            cut = {key: array if len(array) < rows else array[part] for key, array in x.items()}
            parts.append(self.called(cut))
        return np.concatenate(parts)
