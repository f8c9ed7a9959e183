import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.backend.gather import gather
from keras_ctr.features.schema import Schema
from keras_ctr.layers.schema_layer import SchemaLayer

# Only this file brings schema and Keras together: `schema.py` knows no Keras.
keras.saving.register_keras_serializable(package="keras_ctr")(Schema)


class FeatureEmbedding(SchemaLayer):
    """The way into every model: one vector per field, all ids looked up in one packed table.

    Field `i` with value id `k` is row `offset_i + k` of a single table, so that a batch costs one
    gather, not one per column. A numeric column is its value times a learned vector. A sequence
    shares the rows of the categorical it is `of`. Id 0 (padding, missing) is the zero vector and
    gets no gradient.

    Models without a notion of order see each history as one more field, the mean of its events.
    Sequence models set `pool=None` and get the events themselves.

    Args:
        dim: embedding width `D`.
        pool: `"mean"` or `"sum"` of a history's events as one more field; `None` for tokens.
        initializer: of table rows and numeric vectors. Default: normal with standard deviation
            1e-4, as BARS uses for every model.
        schema: a `Schema` whose sizes are known. Inside a model, `model.adapt` sets it.

    Call arguments:
        batch: dict of packed arrays as in `Schema`: `"ids"` `(B, F)`, `"values"` `(B, N)`, and
            `(B, S)` per sequence.

    Returns:
        `(B, F + N + number of sequences, D)` in the order categorical, numeric, sequence. With
        `pool=None`: a pair of `(B, F + N, D)` and a list with, per sequence, its tokens
        `(B, S, D)` and its mask `(B, S)`, True where there is an event.
    """

    # While a step trains the table row by row: a function of the columns of ids, and of what
    # `row_numbers` says of them, that gives their rows, `(B, sum of widths, D)`.
    tap = None
    table_dtype = "float32"  # set by `CTRModel.adapt`

    def __init__(self, dim, pool="mean", initializer=None, schema=None, **kwargs):
        super().__init__(schema, **kwargs)
        if pool not in ("mean", "sum", None):
            raise ValueError(f"`pool` must be 'mean', 'sum' or None. Received: pool={pool!r}")
        require_positive(dim=dim)
        self.dim = dim
        self.pool = pool
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=1e-4)
        )

    def adapt(self, schema):
        """Sets the schema. Raises `ValueError` if a vocabulary size is unknown."""
        missing = [feature.name for feature in schema.categoricals if feature.size is None]
        if missing:
            raise ValueError(
                "An embedding needs the `size` of every Categorical: fit an encoder, or give them. "
                f"Received no size for: {', '.join(missing)}"
            )
        super().adapt(schema)

    @property
    def row_width(self):
        """Numbers in a row of the table: `dim`, unless a row holds several vectors."""
        return self.dim

    def build(self, input_shape):
        self.require_schema()
        self.adapt(self.schema)
        offset, rows = {}, 0
        for feature in self.schema.categoricals:
            offset[feature.name] = rows
            rows += feature.size
        self.offsets = list(offset.values()) + [offset[s.of] for s in self.schema.sequences]
        # Autocast off: the table stays what it is under mixed precision, looked-up rows are cast.
        if rows:
            self.table = self.add_weight(
                shape=(rows, self.row_width),
                initializer=self.initializer,
                dtype=self.table_dtype,
                autocast=False,
                name="table",
            )
        if self.schema.numerics:
            self.vectors = self.add_weight(
                shape=(len(self.schema.numerics), self.row_width),
                initializer=self.initializer.clone(),  # a shared instance repeats its draws
                name="vectors",
            )

    def call(self, batch):
        self._check_keys(batch)
        fields, histories = [], []
        if self.offsets:
            columns = self._columns(batch)
            for ids, rows in zip(columns, self._lookup(columns), strict=True):
                histories.append((rows, ops.not_equal(ids, 0)))
        if self.schema.categoricals:
            fields.append(histories.pop(0)[0])  # (B, F, D)
        if self.schema.numerics:
            fields.append(ops.expand_dims(batch["values"], -1) * self.vectors)  # (B, N, D)
        if self.pool is None:
            return _join(fields), histories
        return _join(fields + [self._pooled(*history) for history in histories])

    def _lookup(self, columns):
        """Gathers all columns of ids at once; returns one `(B, width, D)` tensor for each."""
        ids, present = self.row_numbers(columns)
        if self.tap is None:
            rows = gather(self.table, ids)
        else:
            rows = self.tap(columns, ids, present)
        rows = ops.cast(rows, self.compute_dtype)
        rows = rows * ops.cast(ops.expand_dims(present, -1), rows.dtype)
        if len(columns) == 1:
            return [rows]
        widths = [column.shape[1] for column in columns]
        ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
        return ops.split(rows, ends, axis=1)

    def occurrences(self, batch):
        """Returns how often each row of the table occurs in a batch, a NumPy array `(rows,)`.

        Padding and missing values, id 0, do not count.
        """
        if not self.offsets:
            return np.zeros(0)
        places, known = (ops.convert_to_numpy(a) for a in self.row_numbers(self._columns(batch)))
        return np.bincount(places[known], minlength=self.table.shape[0])

    def row_penalty(self, batch, counts):
        """Returns the sum of `‖w_j‖²/n_j` over the rows `j` of the table that occur in a batch.

        Args:
            batch: dict of packed arrays.
            counts: `(rows,)`, the numbers `n_j`.
        """
        if not self.offsets:
            return 0.0
        places, known = (ops.reshape(a, (-1,)) for a in self.row_numbers(self._columns(batch)))
        known = ops.cast(known, "float32")
        # A row that is met several times has its share at each of them.
        times = ops.segment_sum(known, places, num_segments=self.table.shape[0])
        times = ops.take(times * ops.convert_to_tensor(counts), places)
        norms = ops.sum(ops.square(gather(self.table, places)), axis=-1)
        return ops.sum(known * norms / ops.maximum(times, 1.0))

    def row_numbers(self, columns):
        """Returns which rows of the table columns of ids mean, and where those are not padding.

        Args:
            columns: list of `(B, width)`, the categorical columns and then each sequence.

        Returns:
            Row numbers, int32, and whether the id is not 0, both `(B, sum of widths)`.
        """
        offsets = self._offset_per_position([column.shape[1] for column in columns])
        ids = _join([ops.cast(column, "int32") for column in columns])  # (B, F + all S)
        return ids + ops.convert_to_tensor(offsets, "int32"), ops.not_equal(ids, 0)

    def sizes_of(self, columns):
        """Returns, of every vocabulary that columns of ids draw from, its size and their width.

        Args:
            columns: as for `row_numbers`.
        """
        starts = self._offset_per_position([column.shape[1] for column in columns])
        sizes = zip(self.offsets, self.schema.categoricals, strict=False)  # sequences share these
        return [(feature.size, starts.count(start)) for start, feature in sizes]

    def _columns(self, batch):
        return [batch[key] for key in ("ids", *self._sequence_names()) if key in batch]

    def _offset_per_position(self, widths):
        per_field = self.offsets[: len(self.schema.categoricals)]
        per_sequence = self.offsets[len(self.schema.categoricals) :]
        for width, offset in zip(widths[1:], per_sequence, strict=True):
            per_field = per_field + [offset] * width
        return per_field

    def _pooled(self, tokens, mask):
        total = ops.sum(tokens, axis=1, keepdims=True)  # padding rows are zero already
        if self.pool == "sum":
            return total
        count = ops.sum(ops.cast(mask, tokens.dtype), axis=1)[:, None, None]
        return total / ops.maximum(count, 1)  # (B, 1, D)

    def _sequence_names(self):
        return [sequence.name for sequence in self.schema.sequences]

    def _check_keys(self, batch):
        shapes = self.schema.shapes()
        missing = [key for key in shapes if key not in batch]
        if missing:
            raise ValueError(
                f"A batch must hold {list(shapes)}. Received: {list(batch)}, without {missing}"
            )
        for key, (width, _) in shapes.items():
            shape = tuple(batch[key].shape)
            sequence = key not in ("ids", "values")  # may be cut
            if len(shape) != 2 or not sequence and shape[1:] != width:
                raise ValueError(
                    f"{type(self).__name__} takes `{key}` of shape `(B, {width[0]})`. Received one "
                    f"of shape {shape}"
                )


def _join(tensors):
    return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=1)
