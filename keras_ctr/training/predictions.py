"""One pass over any kind of data: labels, probabilities, weights and groups, row by row."""

import keras
import numpy as np

# Predictions do not depend on it; Keras's own default of 32 rows would make evaluation crawl.
BATCH_SIZE = 4096


def collect(predict, x, y=None, sample_weight=None, **kwargs):
    """Predicts every row and keeps what belongs to it.

    Args:
        predict: `keras.Model.predict` of the model.
        x: data set of `keras_ctr.datasets`, `PyDataset`, iterable of batches, or arrays.
        y: labels, if `x` is arrays.
        sample_weight: weights, if `x` is arrays.
        **kwargs: `steps`, `verbose`, `batch_size` of `predict`.

    Returns:
        `(labels (N, 1), probabilities (N, 1), weights (N,) or None, groups (N,) or None)`.
    """
    groups = None
    if y is None:
        x = in_stored_order(x)
        groups = getattr(x, "groups", None)
        kwargs.pop("batch_size", None)
        record = (
            _RecordedDataset(x) if isinstance(x, keras.utils.PyDataset) else _RecordedBatches(x)
        )
        data = record if isinstance(x, keras.utils.PyDataset) else iter(record)
        probabilities = predict(data, **kwargs)
        y, sample_weight = record.labels_and_weights()
    else:
        kwargs["batch_size"] = kwargs.get("batch_size") or BATCH_SIZE
        probabilities = predict(x, **kwargs)
    rows = len(probabilities)
    y = np.asarray(y, "float32").reshape(len(y), -1)[:rows]
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, "float32").reshape(-1)[:rows]
    return y, probabilities, sample_weight, None if groups is None else groups[:rows]


def in_stored_order(x):
    """Returns a data set of `keras_ctr.datasets` unshuffled and whole, anything else as it is."""
    if hasattr(x, "with_options"):
        return x.with_options(shuffle=False, drop_remainder=False, negatives=1.0)
    return x


class _Record:
    def __init__(self):
        self.seen = {}  # index of a batch -> (labels, weights)

    def keep(self, index, batch):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise ValueError("Evaluation needs labels: batches are `(x, y)` or `(x, y, weight)`.")
        as_numpy = keras.ops.convert_to_numpy
        self.seen[index] = (as_numpy(y), None if weight is None else as_numpy(weight))
        return x

    def labels_and_weights(self):
        batches = [self.seen[index] for index in sorted(self.seen)]
        labels = np.concatenate([y for y, _ in batches])
        if batches[0][1] is None:
            return labels, None
        return labels, np.concatenate([weight for _, weight in batches])


class _RecordedDataset(_Record, keras.utils.PyDataset):
    def __init__(self, dataset):
        keras.utils.PyDataset.__init__(self, workers=dataset.workers)
        _Record.__init__(self)
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return (self.keep(index, self.dataset[index]),)


class _RecordedBatches(_Record):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __iter__(self):
        for index, batch in enumerate(self.batches):
            x = self.keep(index, batch)
            yield (keras.tree.map_structure(keras.ops.convert_to_numpy, x),)
