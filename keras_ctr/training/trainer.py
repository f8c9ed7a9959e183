"""`Trainer`: all that a training step of a model needs, beside the model itself."""

import types
import warnings

import keras
import numpy as np
from keras import ops

from keras_ctr import backend
from keras_ctr import metrics as ctr_metrics
from keras_ctr._checks import require_not_negative
from keras_ctr.features.frames import is_raw
from keras_ctr.losses import LogLoss, on_sampled_odds
from keras_ctr.optimizers import portable
from keras_ctr.training import rules
from keras_ctr.training.calling import Called
from keras_ctr.training.counting import occurrences
from keras_ctr.training.guard import Guard
from keras_ctr.training.predictions import BATCH_SIZE, collect, in_stored_order
from keras_ctr.training.progress import StopNow, callbacks_of
from keras_ctr.training.recalibration import Recalibrated
from keras_ctr.training.tables import CHOICES, has_trained_table, tables_of
from keras_ctr.training.weighing import class_weights, row_weights


class Trainer(Called, Recalibrated, backend.RowTrainer, keras.Model):
    """A Keras model whose large tables are trained by rows, and which is evaluated exactly.

    A subclass has `embeddings`, its `FeatureEmbedding` layers, `schema`, `admit`, which turns what
    users give into what the model takes, and `encoded`, which does so with raw values. What else
    its loss holds is `auxiliary_loss`.
    """

    others_are_clicks = False  # whether `call` returns further click probabilities in training

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table_l2 = 0.0
        self.table_optimizer = "auto"
        self.tables = None
        self.guard = None
        self.batch_l2 = 0.0
        self._fitting = self._warned = False
        self._negatives, self._class_weights = 1.0, None  # of the data that are trained on

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
        if table_optimizer not in CHOICES:
            table_optimizer = rules.get(table_optimizer)
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
        click, others = y_pred[:, :1], y_pred[:, 1:]
        members = self._members() if training else None
        found, labels = click, y
        if members is not None:  # a label for each, as most losses want it
            labels = y if len(y.shape) == 2 else ops.expand_dims(y, -1)
            found, labels = members, ops.cast(labels, members.dtype) * ops.ones_like(members)
        negatives = self._negatives if training else 1.0
        if training and self._class_weights:
            sample_weight = row_weights(self._class_weights, y, sample_weight)
        if type(self.loss) is LogLoss:
            with self.loss.of_sampled(negatives):
                loss = super().compute_loss(x, labels, found, sample_weight, training)
        else:
            found = on_sampled_odds(found, negatives)
            loss = super().compute_loss(x, labels, found, sample_weight, training)
        if others.shape[-1]:
            click = on_sampled_odds(click, negatives)
            if self.others_are_clicks:
                others = on_sampled_odds(others, negatives)
            loss = loss + self.auxiliary_loss(y, click, others, sample_weight)
        if self.table_l2:
            for layer in self.embeddings:
                for weight in self._dense(layer.regularized):
                    loss = loss + self.table_l2 / 2 * ops.sum(ops.square(weight))
        if self.batch_l2 and training and x is not None:
            if self._counts is None:
                raise ValueError("`batch_l2` needs the counts of ids that `fit` makes: call `fit`.")
            for layer, counts in zip(self.embeddings, self._counts, strict=True):
                if layer.offsets and layer.trainable and self._dense([layer.table]):
                    loss = loss + self.batch_l2 / 2 * layer.row_penalty(x, counts)
        return loss

    def _members(self):
        """Probabilities `(B, M)` of an ensemble's members in the step that is under way, or None.

        They are forgotten once they are read, lest they outlive the trace that made them.
        """
        way_out = getattr(self, "click", None)
        members = getattr(way_out, "members", None)
        if members is not None:
            way_out.members = None
        return members

    def auxiliary_loss(self, y, click, others, sample_weight):
        """Returns what the loss gains, in training, by further outputs of `call`.

        Args:
            y: labels `(B, 1)`.
            click: probabilities `(B, 1)`, the first column of what `call` returns; among the rows
                that are trained on, where those are a sample (`negatives` of a data set).
            others: its further columns `(B, K)`, which it returns in training only; of the same
                rows where `others_are_clicks`.
            sample_weight: `(B,)`, `(B, 1)` or `None`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} returns {others.shape[-1] + 1} columns, so it needs "
            "`auxiliary_loss`, which says what the loss gains by all but the first."
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics are of the click: what auxiliary losses add in training stands behind it.

        Like the loss, those followed in `fit` are of the rows trained on: of probabilities among
        these if they are a sample (`negatives`); weighted ones have the class weights.
        """
        click = y_pred[:, :1]
        if self._fitting:
            click = on_sampled_odds(click, self._negatives)
            if self._class_weights:
                sample_weight = row_weights(self._class_weights, y, sample_weight)
        return super().compute_metrics(x, y, click, sample_weight)

    def _learn_from(self, negatives=1.0, weights=None):
        """Says what share of the negatives the data to train on hold, and what each class weighs.

        Both are in a compiled step, which is made anew where they are others than before.
        """
        if (self._negatives, self._class_weights) != (negatives, weights):
            self._negatives, self._class_weights = negatives, weights
            self.train_function = None

    def prepare(self):
        """Decides which tables are trained by rows. Before the optimizer is built."""
        if self.tables is None and self.compiled:
            self.tables = tables_of(
                self.embeddings,
                self.optimizer,
                self.table_optimizer,
                self.table_l2,
                static=self.jit_compile or backend.SHAPES_ARE_STATIC,
            )
            self._frozen = self._frozen_tables()
            self.guard = Guard(self.schema)
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
        elif self.compiled and self._frozen != self._frozen_tables():
            raise ValueError(
                "A table has been frozen or thawed (`trainable`) since `compile`: call `compile` "
                "again, which says anew what is trained."
            )

    def _frozen_tables(self):
        return [not has_trained_table(layer) for layer in self.embeddings]

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
        self._counts = occurrences(self.embeddings, x, validation_split)
        for table in self.tables.tables if self.tables else ():
            at = self.embeddings.index(table.layer)
            table.penalize(self.batch_l2 / np.maximum(self._counts[at], 1))
        self.train_function = None  # a compiled step has the counts of before in it

    def fit(self, x=None, y=None, batch_size=None, epochs=1, *, validation_data=None, **kwargs):
        """Keras's `fit`, for what `admit` has let in."""
        if hasattr(x, "with_options"):  # our data sets shuffle rows; Keras would shuffle batches
            kwargs["shuffle"] = False
        self.prepare()
        self.drop_recalibration()
        split = kwargs.get("validation_split") or 0.0
        weights = class_weights(kwargs.pop("class_weight", None), x, y, split)
        self._learn_from(getattr(x, "negatives", 1.0), weights)
        if self.batch_l2:
            self._count(x, split)
        given = kwargs.pop("callbacks", None)
        callbacks = callbacks_of(given, x, batch_size, epochs=epochs, model=self, **kwargs)
        self.guard.reset()
        self._fitting = True
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
        except StopNow:
            self.guard.raise_if_failed(self)
            raise
        finally:
            self._fitting = self._warned = False
        self.settle()
        return history

    def train_on_batch(self, x, y=None, **kwargs):
        """Keras's `train_on_batch`: one step on a dict of packed arrays and `(B, 1)` labels."""
        x = self.admit(x)
        self.prepare()
        self._learn_from()
        self.guard.reset()
        logs = super().train_on_batch(x, y, **kwargs)
        self.guard.raise_if_failed(self)
        return logs

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Keras's `predict`; `x` may also be raw values.

        Args:
            x: raw values as a data frame (pandas, polars, Arrow), a dict of columns or a list of
                dicts, one per row; or whatever `fit` takes.
            batch_size, verbose, steps, callbacks: Keras's. Without them, 1024 rows are one call.

        Returns:
            Click probabilities `(N, 1)`, float32; `(0, 1)` for no rows. Those of a data set are in
            the order of its `labels`, also where its batches are shuffled for training.
        """
        x = in_stored_order(self.admit(x))
        self.settle()
        if isinstance(x, dict):
            if not len(next(iter(x.values()))):
                return np.zeros((0, 1), "float32")
            if self.can_be_called(x, batch_size or callbacks, verbose):
                return self.called(x)
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
        `return_dict=True`, otherwise a list in that order. `x` may also be raw values with their
        label, as `predict` takes them. A row of weight 2 counts as two rows, in the loss as well:
        where that is a mean, it is divided by the sum of the weights.
        """
        x, y, own, groups = self.with_labels(x, y)
        sample_weight = own if sample_weight is None else sample_weight
        if y is not None and not len(y):
            raise ValueError("Evaluation needs rows. Received: none")
        within_fit = isinstance(callbacks, keras.callbacks.CallbackList)
        if not within_fit:
            callbacks = keras.callbacks.CallbackList(callbacks, model=self)
        callbacks.on_test_begin()
        self.settle()
        labels, probabilities, weights, found = collect(
            super().predict,
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            steps=steps,
            verbose=0 if within_fit else verbose,
        )
        groups = found if groups is None else groups
        loss = self.compute_loss(
            y=ops.convert_to_tensor(labels),
            y_pred=ops.convert_to_tensor(probabilities),
            sample_weight=None if weights is None else ops.convert_to_tensor(self._shares(weights)),
            training=False,
        )
        if len(labels) and (labels == labels[0]).all():
            self._warn_of_one_class(labels)
        self.reset_metrics()
        of_all = super().compute_metrics  # ours are of the rows that `fit` trains on
        logs = {**of_all(None, labels, probabilities, weights), "loss": loss}
        logs = {key: float(ops.convert_to_numpy(value)) for key, value in logs.items()}
        for metric in self._evaluation.on_host:
            metric.reset_state()
            metric.update_state(labels, probabilities, weights, groups=groups)
            logs[metric.name] = metric.result()
        callbacks.on_test_end(logs)
        if verbose and not within_fit:
            print(" - ".join(f"{key}: {value:.5f}" for key, value in logs.items()))
        return logs if return_dict else list(logs.values())

    def _shares(self, weights):
        """Weights `(N,)` as a loss that is a mean over rows takes them: their mean is 1."""
        mean = weights.mean(dtype="float64")
        if not mean > 0:
            raise ValueError("Evaluation needs a row whose weight is not 0. Received: none")
        is_mean = getattr(self.loss, "reduction", None) == "sum_over_batch_size"
        return (weights / mean).astype("float32") if is_mean else weights

    def with_labels(self, x, y=None):
        """Returns data as the model takes them, labels, weights and groups.

        Those of raw values are inside; weights and groups are `None` where there are none.

        Raises:
            ValueError: raw values without their label.
        """
        if y is not None or self.schema is None or not is_raw(x, self.schema):
            return self.admit(x), y, None, None
        arrays = self.encoded(x)
        if "label" not in arrays:
            raise ValueError(
                f"Rows to train or to evaluate on need their label {self.schema.label!r}."
            )
        packed = {key: arrays[key] for key in self.schema.shapes()}
        return packed, arrays["label"], arrays.get("weight"), arrays.get("group")

    def _warn_of_one_class(self, labels):
        """Once per `fit`, or for each `evaluate` outside of one."""
        if not self._warned:
            warnings.warn(
                f"All {len(labels)} labels of the data to evaluate on are {labels[0, 0]:g}: "
                "metrics that compare clicks with others, such as the AUC, are nan. A larger part, "
                "or a split that keeps the share of clicks, has both.",
                stacklevel=3,
            )
            self._warned = self._fitting

    # Saving

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
            self.prepare()
            self.optimizer.build(self.trainable_variables)

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
