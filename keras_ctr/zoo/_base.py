"""`CTRModel`: what every architecture of the zoo inherits, so that its file is only the idea."""

import contextlib
import math
import pathlib
import types

import keras
import numpy as np
from keras import ops

from keras_ctr import metrics as ctr_metrics
from keras_ctr import training
from keras_ctr.encoder import Encoder
from keras_ctr.layers import FeatureEmbedding
from keras_ctr.layers._base import FromSignature, SchemaLayer
from keras_ctr.layers._sizes import require_choice, require_not_negative
from keras_ctr.losses import LogLoss
from keras_ctr.optimizers import portable
from keras_ctr.schema import Schema
from keras_ctr.zoo._predictions import BATCH_SIZE, collect, in_stored_order

TABLE_DTYPES = ("float32", "bfloat16")


class CTRModel(FromSignature, training.RowTrainer, keras.Model):
    """A Keras model that maps a batch of packed columns to click probabilities `(B, 1)`.

    A subclass stores its arguments, makes its parts, and writes `call(batch, training=None)`. This
    class gives it the rest: a config derived from the constructor, a schema (`adapt`), default loss
    and metrics, exact evaluation, and a `.keras` file that holds schema, dtype policy and encoder.

    A model is made without a schema, as a `Normalization` layer is made without a mean. `fit`
    adapts it to the schema its data carries; for plain arrays call `adapt(schema)` first.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.schema = None
        self.table_dtype = "float32"
        self.encoder = None
        self.table_l2 = 0.0
        self.table_optimizer = "auto"
        self.tables = None
        self.guard = None
        self.batch_l2 = 0.0

    # What the columns are

    def adapt(self, data, table_dtype=None):
        """Gives the model its columns and vocabulary sizes, and builds it.

        Args:
            data: a data set of `keras_ctr.datasets`, or a `Schema` with sizes.
            table_dtype: dtype of the embedding tables: `"float32"`, the default, or `"bfloat16"`,
                which halves their memory. Those are trained by rows, in float32 arithmetic and with
                stochastic rounding; what the optimizer keeps for each row stays float32.

        Returns:
            The model itself.

        Raises:
            ValueError: `data` carries no schema, a size is unknown, or the model has been adapted
                to another schema or another dtype before; or the dtype is not one of the two.
        """
        if table_dtype is not None:
            require_choice(TABLE_DTYPES, table_dtype=table_dtype)
        schema = data if isinstance(data, Schema) else getattr(data, "schema", None)
        if schema is None:
            raise ValueError(
                "`adapt` takes a data set of `keras_ctr.datasets` or a `keras_ctr.Schema`. "
                f"Received: {type(data).__name__}"
            )
        if self.schema is None:
            self.table_dtype = table_dtype or self.table_dtype
            for layer in self._find(SchemaLayer):
                layer.adapt(schema)
            for layer in self.embeddings:
                layer.table_dtype = self.table_dtype
            self.schema = schema
            # A model inside first: Keras would try to build it on made-up ids, out of range.
            for model in (*(layer for layer in self.layers if isinstance(layer, CTRModel)), self):
                model(symbolic_batch(schema))
        elif schema != self.schema:
            raise ValueError(
                "This model is adapted to another schema: make a new one for other columns. "
                f"They differ in: {', '.join(_differences(self.schema, schema))}"
            )
        elif table_dtype not in (None, self.table_dtype):
            raise ValueError(
                f"The tables of this model are {self.table_dtype} already: make a new one for "
                f"others. Received: table_dtype={table_dtype!r}"
            )
        encoder = getattr(data, "encoder", None)
        if self.encoder is None:
            self.encoder = encoder
        elif encoder is not None and encoder is not self.encoder:
            self._check_encoder(encoder)
        return self

    def _check_encoder(self, encoder):
        """Equal sizes do not mean equal ids: the words behind them must be the same too."""
        for feature in self.schema.categoricals:
            ours, theirs = (e.vocabulary(feature.name) for e in (self.encoder, encoder))
            if ours is not None and theirs is not None and list(ours) != list(theirs):
                raise ValueError(
                    "These data were encoded with another vocabulary than the model was trained "
                    f"with (column {feature.name!r}): its ids would mean other values. Encode them "
                    "with `datasets.from_pandas(df, encoder=model.encoder)`."
                )

    @property
    def embeddings(self):
        """The `FeatureEmbedding` layers of the model."""
        return self._find(FeatureEmbedding)

    def _find(self, kind):
        """The layers of a kind, also those of a model within this one."""
        found = [layer for layer in self.layers if isinstance(layer, kind)]
        inner = [layer._find(kind) for layer in self.layers if isinstance(layer, CTRModel)]
        return found + [layer for layers in inner for layer in layers]

    def _admit(self, x):
        """Adapts to data with a schema, encodes data frames, checks plain arrays."""
        if isinstance(getattr(x, "schema", None), Schema):
            self.adapt(x)
        if self.schema is None:
            raise ValueError(
                "This model does not know its columns yet: call `model.adapt(dataset_or_schema)` "
                "first. (A data set of `keras_ctr.datasets` brings its schema along.)"
            )
        if hasattr(x, "columns"):  # a pandas or polars data frame of raw values
            if self.encoder is None:
                raise ValueError(
                    "Only a model that was adapted to a data set has the encoder that reads a "
                    "data frame. Give packed arrays instead."
                )
            arrays = self.encoder.encode(x, label=False)
            return {key: arrays[key] for key in self.schema.shapes()}
        if isinstance(x, dict):
            check_arrays(x, self.schema)
        return x

    # Training and evaluation

    def compile(
        self,
        optimizer="adam",
        loss=None,
        metrics=None,
        *,
        table_l2=0.0,
        table_optimizer="auto",
        batch_l2=0.0,
        **kwargs,
    ):
        """Keras's `compile`, with the loss and metrics of click prediction as the default.

        Args:
            optimizer: Keras optimizer or its name.
            loss: default `keras_ctr.losses.LogLoss()`.
            metrics: default `["auc", "logloss"]`. Metrics of `keras_ctr.metrics` are exact and
                computed once per evaluation; Keras's own are also followed during training.
            table_l2: coefficient `λ` of `(λ/2)·‖E‖²` over all embedding weights, added to the loss
                as BARS does (a Keras regulariser `L2(l)` is `l = λ/2`). In a table that is trained
                by rows it acts on a row when that is in a batch, with the steps between made up
                for; there neither it nor `batch_l2` is part of the loss that is shown.
            batch_l2: coefficient `λ` of DIN's mini-batch aware regularisation (arXiv 1706.06978,
                eq. (6)), in training only: `(λ/2)·Σ_j ‖w_j‖²/n_j` over the rows `j` of the table
                that occur in the batch, `n_j` being how often a row occurs in the training data.
                So a frequent value is held less at each step. `fit` counts first, which reads the
                data once more.
            table_optimizer: how embedding tables are trained. `"auto"`: those of more than
                `training.DENSE_UP_TO` rows by rows, with the rule of `optimizer`, the others with
                it directly; `"rows"`: all by rows; `"dense"`: none; or a rule for all of them, an
                object of `keras_ctr.training` or its name, such as `"row_wise_adagrad"`.
            **kwargs: of `keras.Model.compile`.
        """
        require_not_negative(table_l2=table_l2, batch_l2=batch_l2)
        given = ["auc", "logloss"] if metrics is None else metrics
        given = list(given) if isinstance(given, list | tuple) else [given]
        made = [ctr_metrics.get(metric) for metric in given]
        self.table_l2 = table_l2
        self.tables = None  # made when the first step is near: the model may not be built yet
        if table_optimizer not in training.CHOICES:
            table_optimizer = training.get(table_optimizer)
        self.table_optimizer = table_optimizer
        self.batch_l2 = batch_l2
        self._counts = None
        # Inside a plain object, since Keras would follow a metric held by the model at every step.
        self._evaluation = types.SimpleNamespace(
            metrics=made, on_host=[m for m in made if isinstance(m, ctr_metrics.HostMetric)]
        )
        super().compile(
            optimizer=optimizer,
            loss=LogLoss() if loss is None else loss,
            metrics=[m for m in made if m not in self._evaluation.on_host],
            **kwargs,
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )
        if self.table_l2:
            for layer in self.embeddings:
                for weight in self._dense(layer.trainable_weights):
                    loss = loss + self.table_l2 / 2 * ops.sum(ops.square(weight))
        if self.batch_l2 and training and x is not None:
            if self._counts is None:
                raise ValueError("`batch_l2` needs the counts of ids that `fit` makes: call `fit`.")
            for layer, counts in zip(self.embeddings, self._counts, strict=True):
                if layer.offsets and self._dense([layer.table]):
                    loss = loss + self.batch_l2 / 2 * layer.row_penalty(x, counts)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics are of the click: what auxiliary losses add in training stands behind it."""
        return super().compute_metrics(x, y, y_pred[:, :1], sample_weight)

    def _prepare(self):
        """Decides which tables are trained by rows. Before the optimizer is built."""
        if self.tables is None and self.compiled:
            self.tables = training.tables_of(
                self.embeddings,
                self.optimizer,
                self.table_optimizer,
                self.table_l2,
                static=self.jit_compile,
            )
            self.guard = training.Guard(self.schema)
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)

    def _dense(self, variables):
        """Those of the variables that are not tables trained by rows."""
        return [v for v in variables if self.tables is None or not self.tables.holds(v)]

    @property
    def trainable_variables(self):
        """What the optimizer trains: all trainable weights but tables trained by rows."""
        return self._dense(super().trainable_variables)

    @property
    def non_trainable_variables(self):
        """The other state of a training step, with tables trained by rows and their slots."""
        return [*super().non_trainable_variables, *self.step_variables]

    @property
    def step_variables(self):
        """What a training step itself reads and writes: tables trained by rows, and the guard."""
        return [] if self.tables is None else [*self.tables.variables, *self.guard.variables]

    @property
    def float_state(self):
        """What a forward pass in training changes, such as moving averages."""
        return [v for v in super().non_trainable_variables if "float" in v.dtype]

    def allowed(self, loss, gradients, x, y):
        """Whether a step is to have an effect, see `training.Guard`. Called by the step."""
        if hasattr(self.optimizer, "dynamic_scale"):  # whose gradients may overflow at times
            gradients = []
        return self.guard.check(loss, gradients, x, y)

    def settle(self):
        """Gives table rows the moves that the optimizer owes them, see `training.Adam`.

        Done by `fit`, `evaluate`, `predict` and `save` themselves; only who trains with
        `train_on_batch` and then calls the model itself has to do it.
        """
        if self.tables is not None:
            self.tables.settle()

    def _count(self, x, validation_split):
        """Counts how often every row of the tables occurs in the training data."""
        if isinstance(x, dict):
            kept = math.floor(len(next(iter(x.values()))) * (1 - validation_split))
            batches = [{key: array[:kept] for key, array in x.items()}]  # as Keras splits them
        elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
            batches = (x[at][0] for at in range(len(x)))
        else:
            raise ValueError(
                "`batch_l2` counts ids before training, so it needs a data set, or packed arrays, "
                f"that can be read twice. Received: {type(x).__name__}"
            )
        counts = [0] * len(self.embeddings)
        for batch in batches:
            counts = [
                n + e.occurrences(batch) for n, e in zip(counts, self.embeddings, strict=True)
            ]
        self._counts = tuple(np.asarray(n, "float32") for n in counts)
        for table in self.tables.tables if self.tables else ():
            at = self.embeddings.index(table.layer)
            table.hold(self.batch_l2 / np.maximum(self._counts[at], 1))
        self.train_function = None  # a compiled step has the counts of before in it

    def fit(self, x=None, y=None, batch_size=None, epochs=1, *, validation_data=None, **kwargs):
        """Keras's `fit`; adapts the model first if the data carry a schema.

        Args:
            x: data set of `keras_ctr.datasets`; or a dict of packed arrays (see `Schema`; histories
                are right-aligned, the newest event last), checked against the schema before the
                first step; or anything Keras takes.
            y: `(N, 1)` labels, if `x` is arrays.
            batch_size: rows per step, if `x` is arrays.
            epochs: passes over the data.
            validation_data: data set, or tuple `(x, y)`.
            **kwargs: of `keras.Model.fit`.

        Returns:
            Keras's `History`.
        """
        x = self._admit(x)
        if hasattr(x, "with_options"):  # our data sets shuffle rows; Keras would shuffle batches
            kwargs["shuffle"] = False
        if isinstance(validation_data, tuple):
            validation_data = (self._admit(validation_data[0]), *validation_data[1:])
        elif validation_data is not None:
            validation_data = self._admit(validation_data)
        self._prepare()
        if self.batch_l2:
            self._count(x, kwargs.get("validation_split") or 0.0)
        given = kwargs.pop("callbacks", None)
        callbacks = training.callbacks_of(given, x, batch_size, epochs=epochs, model=self, **kwargs)
        self.guard.reset()
        try:
            history = super().fit(
                x,
                y,
                batch_size=batch_size,
                epochs=epochs,
                validation_data=validation_data,
                callbacks=callbacks,
                **kwargs,
            )
        except training.StopNow:
            self.guard.raise_if_failed(self)
            raise
        self.settle()
        return history

    def train_on_batch(self, x, y=None, **kwargs):
        """Keras's `train_on_batch`: one step on a dict of packed arrays and `(B, 1)` labels."""
        x = self._admit(x)
        self._prepare()
        self.guard.reset()
        logs = super().train_on_batch(x, y, **kwargs)
        self.guard.raise_if_failed(self)
        return logs

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Keras's `predict`; `x` may also be a data frame of raw values.

        Returns:
            Click probabilities `(N, 1)`, float32. Those of a data set are in the order of its
            `labels`, also where its batches are shuffled for training.
        """
        x = in_stored_order(self._admit(x))
        self.settle()
        if isinstance(x, dict):
            batch_size = batch_size or BATCH_SIZE
        return super().predict(
            x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks
        )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ):
        """Predicts every row once, then computes loss and metrics once, over all rows.

        Args, and what is returned, are Keras's: a dict `{"loss": …, "auc": …, "logloss": …}` with
        `return_dict=True`, otherwise a list in that order.
        """
        within_fit = isinstance(callbacks, keras.callbacks.CallbackList)
        if not within_fit:
            callbacks = keras.callbacks.CallbackList(callbacks, model=self)
        callbacks.on_test_begin()
        self.settle()
        labels, probabilities, weights, groups = collect(
            super().predict,
            self._admit(x),
            y,
            sample_weight,
            batch_size=batch_size,
            steps=steps,
            verbose=0 if within_fit else verbose,
        )
        loss = self.compute_loss(
            y=ops.convert_to_tensor(labels),
            y_pred=ops.convert_to_tensor(probabilities),
            sample_weight=None if weights is None else ops.convert_to_tensor(weights),
            training=False,
        )
        self.reset_metrics()
        logs = {**self.compute_metrics(None, labels, probabilities, weights), "loss": loss}
        logs = {key: float(ops.convert_to_numpy(value)) for key, value in logs.items()}
        for metric in self._evaluation.on_host:
            metric.reset_state()
            metric.update_state(labels, probabilities, weights, groups=groups)
            logs[metric.name] = metric.result()
        callbacks.on_test_end(logs)
        if verbose and not within_fit:
            print(" - ".join(f"{key}: {value:.5f}" for key, value in logs.items()))
        return logs if return_dict else list(logs.values())

    # Looking inside

    def residual_map(self, batch):
        """Shows what the residual of the model's stack does with a batch.

        Args:
            batch: a dict of packed arrays, or a data frame of raw values.

        Returns:
            A dict of lists with a NumPy array per site, in order of depth. `"weights"`: of
            `DepthAttention`, `(B, T, sources)`, source 0 being the stack's input; SiLU weights can
            be negative, which is forgetting. `"gate"`: of `Gated`, `(D,)`, or `(B, T, D)` if
            dynamic. Empty lists where the residual has no such part.

        Raises:
            ValueError: the model has no stack of residual units.
        """
        stack = getattr(self, "stack", None)
        if stack is None:
            raise ValueError(f"{type(self).__name__} has no residual stack to look into.")
        batch = self._admit(batch)
        with stack.residual.watching() as notes:
            self({key: ops.convert_to_tensor(array) for key, array in batch.items()})
        found = {"weights": [], "gate": []}
        for name, _, value in notes:
            if isinstance(value, list):
                value = ops.concatenate(value, axis=-1)
            found[name].append(ops.convert_to_numpy(value))
        return found

    # Saving

    def get_config(self):
        config = super().get_config()
        config["schema"] = self.schema and self.schema.to_dict()
        config["table_dtype"] = self.table_dtype
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        schema = config.pop("schema", None)
        table_dtype = config.pop("table_dtype", None)
        with dtype_policy(config.pop("dtype", None)):
            model = super().from_config(config)
            if schema:
                model.adapt(Schema.from_dict(schema), table_dtype)
        return model

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["metrics"] = keras.saving.serialize_keras_object(self._evaluation.metrics)
            config["table_l2"] = self.table_l2
            config["table_optimizer"] = keras.saving.serialize_keras_object(self.table_optimizer)
            config["batch_l2"] = self.batch_l2
            config["optimizer"] = portable(config["optimizer"])
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self._prepare()
            self.optimizer.build(self.trainable_variables)

    def save(self, filepath, overwrite=True, **kwargs):
        """Keras's `save`."""
        self.settle()
        super().save(filepath, overwrite=overwrite, **kwargs)

    def save_own_variables(self, store):
        """Saves what the tables' optimizer keeps for each row. Called by Keras."""
        super().save_own_variables(store)
        for name, variable in self._table_state().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store):
        """The inverse of `save_own_variables`; does without where no table is trained by rows."""
        names = list(store.keys())
        for name, variable in self._table_state().items():
            if name in names:
                variable.assign(store[name])
        super().load_own_variables({n: store[n] for n in names if not n.startswith("table_")})

    def _table_state(self):
        return {f"table_{n}": v for n, v in self.tables.saved.items()} if self.tables else {}

    def save_assets(self, dir_path):
        """Puts the encoder into the `.keras` file. Called by Keras."""
        if self.encoder is not None:
            self.encoder.save(dir_path)

    def load_assets(self, dir_path):
        """Takes the encoder out of the `.keras` file. Called by Keras."""
        if dir_path and any(pathlib.Path(dir_path).iterdir()):
            self.encoder = Encoder.load(dir_path)


def symbolic_batch(schema):
    """Returns a batch of `keras.Input`s."""
    return {
        key: keras.Input(shape, dtype=dtype, name=key)
        for key, (shape, dtype) in schema.shapes().items()
    }


def check_arrays(batch, schema):
    """Raises `ValueError` unless `batch` holds the schema's packed arrays with ids in range."""
    shapes = schema.shapes()
    if set(batch) != set(shapes):
        raise ValueError(f"Inputs must be a dict of {sorted(shapes)}. Received: {sorted(batch)}")
    for key, ((width,), dtype) in shapes.items():
        shape = tuple(batch[key].shape)
        if len(shape) != 2 or shape[1] != width:
            raise ValueError(f"`{key}` must have shape (N, {width}). Received: shape={shape}")
        if isinstance(batch[key], np.ndarray):
            kind = "iu" if dtype == "int32" else "iuf"
            if batch[key].dtype.kind not in kind:
                raise ValueError(f"`{key}` must be {dtype}. Received: dtype={batch[key].dtype}")
    for key, columns in schema.bounds().items():
        if isinstance(batch[key], np.ndarray):
            check_ids(batch[key], columns)
    for sequence in schema.sequences:
        if isinstance(batch[sequence.name], np.ndarray):
            check_alignment(batch[sequence.name], sequence.name)


def check_ids(ids, columns):
    """Raises `ValueError` unless each column of `ids` lies in `[0, size)`.

    `columns` is a list of `(name, size)`: one per column, or a single one for all.
    """
    sizes = np.array([size for _, size in columns])
    bad = (ids < 0) | (ids >= sizes)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        name, size = columns[min(column, len(columns) - 1)]
        raise ValueError(
            f"Ids of column {name!r} must lie in [0, {size}). "
            f"Received: {ids[row, column]} in row {row} ({bad.sum()} such ids in all)"
        )


def check_alignment(events, name):
    """Raises `ValueError` if the histories `(N, S)` plainly have their padding on the right.

    That is, if the oldest place is taken and the newest empty in all rows that are neither full nor
    empty. A single such row may be a history whose newest event is missing.
    """
    taken = events != 0
    partial = taken.any(axis=1) & ~taken.all(axis=1)
    if partial.sum() > 1 and (taken[partial, 0] & ~taken[partial, -1]).all():
        raise ValueError(
            f"Histories must be right-aligned, the newest event last and zeros before the oldest: "
            f"all of {name!r} that are not full have their zeros on the right. "
            f"Received, for one: {events[partial][0].tolist()}"
        )


@contextlib.contextmanager
def dtype_policy(policy):
    """Makes layers created inside take `policy` (a name, an object or its config; None: as is)."""
    before = keras.config.dtype_policy()
    if isinstance(policy, dict):
        policy = keras.saving.deserialize_keras_object(policy)
    if policy is not None:
        keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _differences(old, new):
    """Names what differs between two schemas."""
    old_columns, new_columns = ({f.name: f for f in schema} for schema in (old, new))
    names = [
        repr(name)
        for name in {**old_columns, **new_columns}
        if old_columns.get(name) != new_columns.get(name)
    ]
    if not names and list(old_columns) != list(new_columns):
        names.append("the order of the columns")
    names += [part for part in ("label", "group") if getattr(old, part) != getattr(new, part)]
    return names
