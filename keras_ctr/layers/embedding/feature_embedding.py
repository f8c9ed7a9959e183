import keras
import numpy as np
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.backend.gather import gather
from keras_ctr.features.schema import Schema
from keras_ctr.layers.embedding.auto_dis import AutoDis
from keras_ctr.layers.embedding.periodic_embedding import PeriodicEmbedding
from keras_ctr.layers.embedding.piecewise_linear_embedding import PiecewiseLinearEmbedding
from keras_ctr.layers.schema_layer import SchemaLayer

# Only this file brings schema and Keras together: `schema.py` knows no Keras.
keras.saving.register_keras_serializable(package="keras_ctr")(Schema)


class FeatureEmbedding(SchemaLayer):
    """The way into every model: one vector per field, all ids looked up in one packed table.

    Field `i` with value id `k` is row `offset_i + k` of a single table, so that a batch costs one
    gather, not one per column. A numeric column is embedded as its `Numeric.embedding` says: by
    default its value times a learned vector. A sequence shares the rows of the categorical it is
    `of`. Id 0 (padding, missing) is the zero vector and gets no gradient. A `Bag` is the pooled
    rows of its values, a `Vector` its projection, a `Time` its parts, names and numbers alike.

    Models without a notion of order see each history as one more field, the mean of its events.
    Sequence models set `pool=None` and get the events themselves, and the values of a `Bag` with
    `tokens` as well.

    Args:
        dim: embedding width `D`.
        pool: `"mean"` or `"sum"` of a history's events as one more field; `None` for tokens.
        initializer: of table rows and numeric vectors. Default: normal with standard deviation
            1e-4, as BARS uses for every model; layers for other embeddings of numbers have their
            own.
        schema: a `Schema` whose sizes are known. Inside a model, `model.adapt` sets it.

    Call arguments:
        batch: dict of packed arrays as in `Schema`: `"ids"` `(B, F)`, `"values"` `(B, N)`, and
            `(B, S)` per sequence, and so on. With `pool=None` sequences may be `(1, S)`, of what
            all rows share: so are then their tokens and masks.

    Returns:
        `(B, number of fields, D)` in the order of `Schema.fields`: categorical, numeric, bag,
        vector, sequence. With `pool=None`: a pair of the same without the sequences, and a list
        with, per entry of `Schema.histories`, its tokens `(B, S, D)` and its mask `(B, S)`, True
        where there is an event.
    """

    # While a step trains the table row by row: a function of the columns of ids, and of what
    # `row_numbers` says of them, that gives their rows, `(B, sum of widths, D)`.
    tap = None
    table_dtype = "float32"  # set by `CTRModel.adapt`
    pretrained = {}  # as well: `{column: (width, whether it is trained)}`

    def __init__(self, dim, pool="mean", initializer=None, schema=None, **kwargs):
        # Or numbers would be rounded to bfloat16 before they are embedded.
        super().__init__(schema, **{"autocast": False, **kwargs})
        if pool not in ("mean", "sum", None):
            raise ValueError(f"`pool` must be 'mean', 'sum' or None. Received: pool={pool!r}")
        require_positive(dim=dim)
        self.dim = dim
        self.pool = pool
        self._given = initializer
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=1e-4)
        )

    def adapt(self, schema):
        """Sets the schema. Raises `ValueError` if a vocabulary size is unknown."""
        if schema.unsized:
            raise ValueError(
                "An embedding needs the `size` of every Categorical (and the length of a Bag, the "
                "width of a Vector): fit an encoder, or give them. "
                f"Received no size for: {', '.join(schema.unsized)}"
            )
        super().adapt(schema)

    @property
    def regularized(self):
        """The weights that `table_l2` holds: the table, and vectors that a number multiplies."""
        held = [getattr(self, name, None) for name in ("table", "vectors")]
        return [weight for weight in held if weight is not None and weight.trainable]

    @property
    def row_width(self):
        """Numbers in a row of the table: `dim`, unless a row holds several vectors."""
        return self.dim

    def build(self, input_shape):
        self.require_schema()
        self.adapt(self.schema)
        schema, offset, rows = self.schema, {}, 0
        for name, feature in schema.vocabularies.items():
            offset[name] = rows
            rows += feature.size
        own = [feature.name for feature in (*schema.categoricals, *schema.bags)]
        self.offsets = [offset[n] for n in own + [s.vocabulary for s in schema.sequences]]
        self._starts = offset
        # Autocast off: the table stays what it is under mixed precision, looked-up rows are cast.
        if rows:
            self.table = self.add_weight(
                shape=(rows, self.row_width),
                initializer=self.initializer,
                dtype=self.table_dtype,
                autocast=False,
                name="table",
            )
        self._build_numbers(schema.numerics)
        self.projections = [
            self.add_weight(
                shape=(vector.width, self.row_width),
                initializer=self.initializer if self.row_width == 1 else "glorot_normal",
                name=vector.name,
            )
            for vector in schema.vectors
        ]
        self.tables = {}
        for name, (width, trained) in self.pretrained.items():
            if name in self._starts:
                table = self.add_weight(
                    shape=(schema.vocabularies[name].size, width),
                    initializer="zeros",
                    trainable=trained,
                    autocast=False,
                    name=f"pretrained_{name}",
                )
                projection = self.add_weight(
                    shape=(width, self.row_width), initializer="glorot_normal", name=f"into_{name}"
                )
                self.tables[name] = (table, projection)

    def _build_numbers(self, numerics):
        """Makes what embeds the numeric columns: vectors, and a layer per other kind."""
        kinds = [  # before an encoder is fitted there are no pieces
            "linear" if (f.embedding, f.edges) == ("piecewise", None) else f.embedding
            for f in numerics
        ]
        self._linear = [at for at, kind in enumerate(kinds) if kind == "linear"]
        if self._linear:
            self.vectors = self.add_weight(
                shape=(len(self._linear), self.row_width),
                initializer=self.initializer.clone(),  # a shared instance repeats its draws
                name="vectors",
            )
        # A first-order weight starts near zero, whatever multiplies it.
        given = self._given or (self.initializer if self.row_width == 1 else None)
        self._nonlinear, self.number_layers = [], []
        for kind, make in NUMBERS.items():
            places = [at for at, found in enumerate(kinds) if found == kind]
            if places:
                chosen = [numerics[at] for at in places]
                layer = make(self.row_width, chosen, given, dtype=self.dtype_policy)
                layer.build((None, len(places)))
                self._nonlinear.append(places)
                self.number_layers.append(layer)
        order = self._linear + sum(self._nonlinear, [])
        self._reordered = None if order == sorted(order) else np.argsort(order)

    def call(self, batch):
        self._check_keys(batch)
        schema, fields, lists = self.schema, [], []
        if self.offsets:
            columns = self._columns(batch)
            for ids, rows in zip(columns, self._lookup(columns), strict=True):
                lists.append((rows, ops.not_equal(ids, 0)))
        if schema.categoricals:
            rows = lists.pop(0)[0]  # (B, F, D)
            fields.append(rows if not self.tables else self._with_pretrained(rows, batch["ids"]))
        if schema.numerics:
            fields.append(self._numbers(batch["values"]))  # (B, N, D)
        bags, sequences = lists[: len(schema.bags)], lists[len(schema.bags) :]
        for bag, (rows, mask) in zip(schema.bags, bags, strict=True):
            weights = None if bag.weights is None else batch[bag.weights]
            fields.append(pooled(rows, mask, bag.pool, weights))
        for vector, projection in zip(schema.vectors, self.projections, strict=True):
            x = ops.cast(batch[vector.name], self.compute_dtype)
            fields.append(ops.matmul(x, ops.cast(projection, x.dtype))[:, None])
        if self.pool is None:
            tokens = [each for bag, each in zip(schema.bags, bags, strict=True) if bag.tokens]
            return _join(fields), tokens + sequences
        return _join(fields + [pooled(*history, self.pool) for history in sequences])

    def _numbers(self, values):
        """The embeddings `(B, N, D)` of the numeric columns, in their order."""
        parts = []
        if self._linear:
            linear = values
            if self._nonlinear:
                linear = ops.take(values, np.array(self._linear), axis=1)
            linear = ops.expand_dims(ops.cast(linear, "float32"), -1) * self.vectors
            parts.append(ops.cast(linear, self.compute_dtype))
        for places, layer in zip(self._nonlinear, self.number_layers, strict=True):
            whole = len(places) == values.shape[1]
            chosen = values if whole else ops.take(values, np.array(places), axis=1)
            parts.append(ops.cast(layer(chosen), self.compute_dtype))
        found = _join(parts)
        return found if self._reordered is None else ops.take(found, self._reordered, axis=1)

    def _with_pretrained(self, rows, ids):
        """Adds to the fields that have one the projection of their pre-trained vectors."""
        found = []
        for at, feature in enumerate(self.schema.categoricals):
            row = rows[:, at : at + 1]
            if feature.name in self.tables:
                table, projection = self.tables[feature.name]
                known = ops.cast(ops.take(table, ids[:, at : at + 1], axis=0), self.compute_dtype)
                row = row + ops.matmul(known, ops.cast(projection, known.dtype))
            found.append(row)
        return _join(found)

    def _lookup(self, columns):
        """Gathers all columns of ids at once; returns one `(B, width, D)` tensor for each."""
        places = range(len(columns))
        shared = [at for at in places if columns[at].shape[0] == 1]
        if not 0 < len(shared) < len(columns):
            return self._gathered(columns, places)
        found = {}  # what all rows share is another batch
        for chosen in (shared, [at for at in places if at not in shared]):
            rows = self._gathered([columns[at] for at in chosen], chosen)
            found |= zip(chosen, rows, strict=True)
        return [found[at] for at in places]

    def _gathered(self, columns, places):
        """As `_lookup`, of columns of one batch, which stand at such places among all."""
        ids, present = self.row_numbers(columns, places)
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

    def row_numbers(self, columns, places=None):
        """Returns which rows of the table columns of ids mean, and where those are not padding.

        Args:
            columns: list of `(B, width)`, the categorical columns and then each sequence.
            places: where in this list they stand, if they are not all.

        Returns:
            Row numbers, int32, and whether the id is not 0, both `(B, sum of widths)`.
        """
        offsets = self._offset_per_position([column.shape[1] for column in columns], places)
        ids = _join([ops.cast(column, "int32") for column in columns])  # (B, F + all S)
        return ids + ops.convert_to_tensor(offsets, "int32"), ops.not_equal(ids, 0)

    def sizes_of(self, columns):
        """Returns, of every vocabulary that columns of ids draw from, its size and their width.

        Args:
            columns: as for `row_numbers`.
        """
        starts = self._offset_per_position([column.shape[1] for column in columns])
        sizes = ((self._starts[n], f.size) for n, f in self.schema.vocabularies.items())
        return [(size, starts.count(start)) for start, size in sizes]

    def _columns(self, batch):
        names = [feature.name for feature in (*self.schema.bags, *self.schema.sequences)]
        keys = ["ids", *names] if self.schema.categoricals else names
        return [batch[key] for key in keys]

    def _offset_per_position(self, widths, places=None):
        columns = len(self.schema.categoricals)
        own = [self.offsets[:columns]] if columns else []  # a list for each place
        own += [[offset] for offset in self.offsets[columns:]]
        chosen = own if places is None else [own[at] for at in places]
        repeats = zip(chosen, widths, strict=True)
        return sum(([*each] * (width // len(each)) for each, width in repeats), [])

    def _check_keys(self, batch):
        shapes = self.schema.shapes()
        cut = {feature.name for feature in (*self.schema.bags, *self.schema.sequences)}
        cut |= {bag.weights for bag in self.schema.bags}
        missing = [key for key in shapes if key not in batch]
        if missing:
            raise ValueError(
                f"A batch must hold {list(shapes)}. Received: {list(batch)}, without {missing}"
            )
        for key, (width, _) in shapes.items():
            shape = tuple(batch[key].shape)
            sequence = key in cut  # may be
            if len(shape) != 2 or not sequence and shape[1:] != width:
                raise ValueError(
                    f"{type(self).__name__} takes `{key}` of shape `(B, {width[0]})`. Received one "
                    f"of shape {shape}"
                )


def pooled(tokens, mask, pool, weights=None):
    """Pools tokens `(B, S, D)` to `(B, 1, D)`; the tokens where `mask` is False are zero already.

    Args:
        tokens: `(B, S, D)`.
        mask: `(B, S)`.
        pool: `"mean"`, `"sum"` or `"max"`.
        weights: `(B, S)`, which multiply the tokens, and whose sum divides a mean.
    """
    counted = ops.cast(mask, tokens.dtype)
    if weights is not None:
        weights = ops.cast(weights, tokens.dtype) * counted
        tokens = tokens * ops.expand_dims(weights, -1)
        counted = ops.abs(weights)
    if pool == "max":
        there = ops.expand_dims(mask, -1)
        lowest = ops.where(there, tokens, ops.full_like(tokens, -1e4))
        found = ops.max(lowest, axis=1, keepdims=True)
        return ops.where(ops.any(there, axis=1, keepdims=True), found, ops.zeros_like(found))
    total = ops.sum(tokens, axis=1, keepdims=True)
    if pool == "sum":
        return total
    count = ops.sum(counted, axis=1)[:, None, None]
    if weights is None:
        return total / ops.maximum(count, 1)  # (B, 1, D)
    return total / ops.where(count > 0, count, ops.ones_like(count))


def _piecewise(dim, numerics, initializer, **kwargs):
    bins = [list(feature.edges) for feature in numerics]
    activation = _bent(dim)
    return PiecewiseLinearEmbedding(dim, bins, activation, initializer, **kwargs)


def _periodic(dim, numerics, initializer, **kwargs):
    return PeriodicEmbedding(dim, activation=_bent(dim), initializer=initializer, **kwargs)


def _autodis(dim, numerics, initializer, **kwargs):
    return AutoDis(dim, initializer=initializer, **kwargs)


def _bent(dim):
    """The activation after an embedding of numbers: none of a first-order weight."""
    return "linear" if dim == 1 else "relu"


NUMBERS = {"piecewise": _piecewise, "periodic": _periodic, "autodis": _autodis}


def _join(tensors):
    return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=1)
