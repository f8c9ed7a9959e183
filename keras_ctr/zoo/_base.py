"""`CTRModel`: what every architecture of the zoo inherits, so that its file is only the idea."""

import pathlib

from keras import ops

from keras_ctr._checks import require_choice
from keras_ctr._config import Checked, arguments
from keras_ctr.backend.internals import forget_symbolic_calls, layers_of
from keras_ctr.features import Encoder, Schema
from keras_ctr.features.batches import check_arrays
from keras_ctr.features.frames import is_raw
from keras_ctr.layers import TOWER_ARGUMENTS, FeatureEmbedding
from keras_ctr.layers.schema_layer import SchemaLayer
from keras_ctr.training.trainer import Trainer
from keras_ctr.zoo import _pretrained
from keras_ctr.zoo._building import dtype_policy, symbolic_batch
from keras_ctr.zoo._files import read_moved, whole, without_parts
from keras_ctr.zoo._patterns import patterns, require_alternatives, require_uncalled
from keras_ctr.zoo._served import Served

TABLE_DTYPES = ("float32", "bfloat16")


class CTRModel(Checked, Served, Trainer):
    """A Keras model that maps a batch of packed columns to click probabilities `(B, 1)`.

    A subclass stores its arguments, makes its parts, and writes `call(batch, training=None)`. This
    class gives it the rest: a config derived from the constructor, a schema (`adapt`), default loss
    and metrics, exact evaluation, and a `.keras` file that holds schema, dtype policy and encoder.

    A model is made without a schema, as a `Normalization` layer is made without a mean. `fit`
    adapts it to the schema its data carries; for plain arrays call `adapt(schema)` first.

    An object among the arguments (`tower`, `residual`, …) is a pattern: the model makes copies of
    it (`layers.copy_of`, `layers.get_tower`) and stores them under other names than the argument's,
    which stays as it was given. So one pattern serves any number of models.

    Attributes:
        moved: `{path of a part: its path in files of version 0.1}`, where Keras needs it.
        replaced_by: `{object argument: arguments that are unused where it is given}`.
    """

    moved = {}
    replaced_by = {"tower": TOWER_ARGUMENTS}

    def __new__(cls, *args, **kwargs):
        model = super().__new__(cls, *args, **kwargs)
        require_alternatives(cls, {**dict(zip(arguments(cls), args, strict=False)), **kwargs})
        return model

    def __init__(self, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # layers cast: numbers are not rounded
        self.schema = None
        self.table_dtype = "float32"
        self.pretrained = {}
        self.encoder = None

    def __setattr__(self, name, value):
        if name in arguments(type(self)):  # as given: Keras would take a pattern for a part
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self):
        """Without patterns, which have no weights that a file could hold."""
        return [name for name in super().__dir__() if name not in patterns(self)]

    # What the columns are

    def adapt(self, data, table_dtype=None, pretrained=None):
        """Gives the model its columns and vocabulary sizes, and builds it.

        Args:
            data: a data set of `keras_ctr.datasets`, or a `Schema` with sizes.
            table_dtype: dtype of the embedding tables: `"float32"`, the default, or `"bfloat16"`,
                which halves their memory. Those are trained by rows, in float32 arithmetic and with
                stochastic rounding; what the optimizer keeps for each row stays float32.

            pretrained: `{categorical column: vectors}`: a dict of value to vector, or an array with
                a row per id. Their projection is added to the embedding that is learnt. They stay
                as they are; `(vectors, True)` are trained. Zeros for values without one.

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
            for layer in layers_of(self, SchemaLayer):
                layer.adapt(schema)
            self.pretrained = {**self.pretrained, **_pretrained.widths(pretrained, schema)}
            for layer in self.embeddings:
                layer.table_dtype, layer.pretrained = self.table_dtype, self.pretrained
            self.schema = schema
            fresh = [name for name, pattern in patterns(self).items() if not pattern.built]
            # A model inside first: Keras would try to build it on made-up ids, out of range.
            for model in (*layers_of(self, CTRModel), self):
                model(symbolic_batch(schema))
                forget_symbolic_calls(model)
            require_uncalled(self, fresh)
        elif schema != self.schema:
            raise ValueError(
                "This model is adapted to another schema: make a new one for other columns. "
                f"They differ in: {', '.join(self.schema.differences(schema))}"
            )
        elif pretrained and not self.pretrained:
            raise ValueError(
                "`pretrained` must be given when a model is adapted first: make a new one."
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
        _pretrained.fill(self, pretrained)
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
        """The `FeatureEmbedding` layers of the model, however deep inside."""
        return layers_of(self, FeatureEmbedding)

    def admit(self, x):
        """Adapts to data with a schema, encodes data frames, checks plain arrays."""
        if isinstance(getattr(x, "schema", None), Schema):
            self.adapt(x)
        if self.schema is None:
            raise ValueError(
                "This model does not know its columns yet: call `model.adapt(dataset_or_schema)` "
                "first. (A data set of `keras_ctr.datasets` brings its schema along.)"
            )
        if is_raw(x, self.schema):
            arrays = self.encoder and self.encoder.encode_few(x) or self.encoded(x, label=False)
            return {key: arrays[key] for key in self.schema.shapes()}
        if isinstance(x, dict):
            check_arrays(x, self.schema)
        return x

    def encoded(self, x, label=True):
        """Raw values as packed arrays, with `"label"`, `"weight"`, `"group"` if there."""
        if self.encoder is None:
            raise ValueError(
                "Only a model that was adapted to a data set has the encoder that reads raw "
                f"values. Give packed arrays instead, a dict of {sorted(self.schema.shapes())}."
            )
        return self.encoder.encode(x, label)

    # Training and evaluation

    def fit(self, x=None, y=None, batch_size=None, epochs=1, *, validation_data=None, **kwargs):
        """Keras's `fit`; adapts the model first if the data carry a schema.

        Args:
            x: data set of `keras_ctr.datasets`; or a dict of packed arrays (see `Schema`; histories
                are right-aligned, the newest event last), checked against the schema before the
                first step; or raw values as `predict` takes them, with their label (and weight,
                where the schema has one), once the model is adapted; or anything Keras takes.
            y: `(N, 1)` labels, if `x` is arrays.
            batch_size: rows per step, if `x` is arrays.
            epochs: passes over the data.
            validation_data: data set, raw values with their label, or tuple `(x, y)`.
            **kwargs: of `keras.Model.fit`. `class_weight` may also be `"balanced"`; weights other
                than 1 shift the probabilities, see `recalibrate`.

        With `train.with_options(negatives=0.05)` an epoch holds a share of the rows without a
        click. The loss is then that of the odds among these rows, so that the probability stays
        that of all of them (`losses.on_sampled_odds`); what is shown for training is of the sample.

        Returns:
            Keras's `History`.
        """
        if isinstance(validation_data, tuple):
            validation_data = (self.admit(validation_data[0]), *validation_data[1:])
        elif validation_data is not None:
            held_out, labels, weights, _ = self.with_labels(validation_data)
            further = () if weights is None else (weights,)
            validation_data = held_out if labels is None else (held_out, labels, *further)
        x, y, weights, _ = self.with_labels(x, y)
        if weights is not None and kwargs.get("sample_weight") is None:
            kwargs["sample_weight"] = weights
        return super().fit(x, y, batch_size, epochs, validation_data=validation_data, **kwargs)

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
        batch = self.admit(batch)
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
        config["pretrained"] = self.pretrained
        return config

    @classmethod
    def from_config(cls, config):
        config = without_parts(config, cls)
        schema = config.pop("schema", None)
        table_dtype = config.pop("table_dtype", None)
        pretrained = config.pop("pretrained", None) or {}
        with dtype_policy(config.pop("dtype", None)):
            model = super().from_config(config)
            if schema:
                model.pretrained = pretrained  # their vectors are among the weights
                model.adapt(Schema.from_dict(schema), table_dtype)
        return model

    def save(self, filepath, overwrite=True, **kwargs):
        """Keras's `save`. A `.keras` file takes the place of an older one when it is whole."""
        self.settle()
        if not overwrite or kwargs.get("zipped") is False:
            super().save(filepath, overwrite=overwrite, **kwargs)
            return
        with whole(filepath) as path:
            super().save(path, **kwargs)

    def quantize(self, mode=None, config=None, **kwargs):
        """Raises `NotImplementedError`: only parts would be quantized, the tables not."""
        raise NotImplementedError(
            "Models of keras_ctr are not quantized: their size is that of the tables, for which "
            f"there is `adapt(..., table_dtype='bfloat16')`. Received: mode={mode!r}"
        )

    def load_own_variables(self, store):
        """The inverse of `save_own_variables`. Called by Keras, before it loads the parts."""
        read_moved(store, self.moved)
        super().load_own_variables(store)

    def save_assets(self, dir_path):
        """Puts the encoder into the `.keras` file. Called by Keras."""
        if self.encoder is not None:
            self.encoder.save(dir_path)

    def load_assets(self, dir_path):
        """Takes the encoder out of the `.keras` file. Called by Keras."""
        if dir_path and any(pathlib.Path(dir_path).iterdir()):
            self.encoder = Encoder.load(dir_path)
