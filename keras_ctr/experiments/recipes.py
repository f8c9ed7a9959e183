"""Recipes: everything a published number depends on that is not the architecture.

>>> recipe = keras_ctr.experiments.recipes.get("bars", data="frappe_x1")
>>> recipe.batch_size, recipe.table_l2
(4096, 0.05)
"""

import dataclasses
import json

import keras

from keras_ctr import layers, zoo
from keras_ctr._checks import unknown
from keras_ctr._config import arguments

# Parts of names of weights that AdamW leaves as they are.
NOT_DECAYED = [
    *("bias", "table", "inward", "outward", "member_vectors", "gamma", "beta", "pretrained"),
]


LARGE = 100_000  # rows, for `one_call`


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training set-up: model sizes, optimizer, regularisation, schedule and stopping rule.

    Attributes:
        name: of the recipe.
        model: constructor arguments, used where the architecture has them.
        tower: arguments of the `layers.MLP` tower, used where the architecture has a tower of that
            kind. One whose activation is fixed by its paper is a head, and keeps its own. The
            activation is the architecture's, unless given here.
        batch_size: rows per step.
        epochs: largest number of epochs.
        learning_rate, epsilon, global_clipnorm: of Adam.
        weight_decay: of AdamW, on matrices (kernels, and the pieces of numbers); 0: plain Adam.
        ema: momentum of the moving average of the weights that is validated and kept; `None`: the
            weights themselves. Tables that are trained by rows are not averaged.
        members: number of members of a `layers.TabM` in the place of an MLP tower; `None`: an MLP.
        table_l2: `λ` of `(λ/2)·‖E‖²` over all embedding weights.
        batch_l2: `λ` of DIN's mini-batch aware regularisation, see `CTRModel.compile`.
        table_optimizer: of `CTRModel.compile`; `"dense"` where the regularisation is to be exact.
        monitor: validation value that decides on the plateau and on stopping; of a loss smaller is
            better, else larger.
        patience: non-improving epochs in a row before training stops and the best weights return.
            `None` trains all epochs, at one learning rate.
        plateau: non-improving epochs in a row before the learning rate falls to a tenth, not below
            1e-6; `None`: it never does.
    """

    name: str
    model: dict = dataclasses.field(default_factory=dict)
    tower: dict = dataclasses.field(default_factory=dict)
    batch_size: int = 4096
    epochs: int = 1
    learning_rate: float = 1e-3
    epsilon: float = 1e-7
    global_clipnorm: float | None = None
    table_l2: float = 0.0
    batch_l2: float = 0.0
    table_optimizer: str = "auto"
    monitor: str = "val_auc"
    patience: int | None = None
    plateau: int | None = 1
    weight_decay: float = 0.0
    ema: float | None = None
    members: int | None = None

    def get(self, name, **config):
        """Makes the model `name` with the recipe's sizes; `config` comes on top of them.

        Arguments of `layers.MLP` that the model itself does not have, such as `batch_norm`, are its
        tower's. A tower by name, `tower="sml"`, gets the recipe's sizes too, but no batch norm.
        """
        model = type(zoo.get(name))
        known = arguments(model)
        unused = {  # sizes of the recipe in whose place an object is given
            size
            for part, sizes in model.replaced_by.items()
            if config.get(part) is not None and not isinstance(config[part], str)
            for size in sizes
        }
        sizes = {k: v for k, v in self.model.items() if k in known and k not in unused} | config
        tower = config.get("tower") or "mlp"
        if self.tower and {"tower", "activation"} <= set(known) and isinstance(tower, str):
            chosen = {key: value for key, value in config.items() if key in arguments(layers.MLP)}
            chosen = {"activation": known["activation"]} | self.tower | chosen
            sizes |= {key: value for key, value in chosen.items() if key in known}
            if tower == "mlp":  # which holds them itself, and what the model does not know
                replaced = (set(chosen) - set(known)) | set(model.replaced_by["tower"])
                sizes = {key: value for key, value in sizes.items() if key not in replaced}
                sizes["tower"] = self._tower(chosen)
        return zoo.get(name, **sizes)

    def _tower(self, chosen):
        """The tower of these arguments: an MLP, or the ensemble of `members`."""
        if self.members is None:
            return layers.MLP(**chosen)
        return layers.TabM(members=self.members, **chosen)

    def to_json(self):
        """Returns the recipe as JSON text; `Recipe(**json.loads(text))` is the inverse."""
        return json.dumps(dataclasses.asdict(self))

    def compile(self, model):
        """Compiles `model` with the recipe's optimizer and regularisation, and returns it."""
        given = {"epsilon": self.epsilon, "global_clipnorm": self.global_clipnorm}
        if self.ema is not None:
            given |= {"use_ema": True, "ema_momentum": self.ema}
        if self.weight_decay:
            optimizer = keras.optimizers.AdamW(
                self.learning_rate, weight_decay=self.weight_decay, **given
            )
            optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
        else:
            optimizer = keras.optimizers.Adam(self.learning_rate, **given)
        model.compile(
            optimizer,
            table_l2=self.table_l2,
            batch_l2=self.batch_l2,
            table_optimizer=self.table_optimizer,
        )
        return model

    def callbacks(self):
        """Returns fresh Keras callbacks for the average, the plateau and the stopping rule."""
        found = []
        if self.ema is not None:  # first: the others see the average
            found.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
        if self.patience is None:
            return found
        mode = "min" if "loss" in self.monitor else "max"
        rule = {"monitor": self.monitor, "mode": mode, "min_delta": 1e-6}
        if self.plateau is not None:
            found.append(
                keras.callbacks.ReduceLROnPlateau(
                    factor=0.1, patience=self.plateau, min_lr=1e-6, **rule
                )
            )
        stop = keras.callbacks.EarlyStopping(
            patience=self.patience, restore_best_weights=True, **rule
        )
        return [*found, stop]

    def fit(self, model, train, valid, **kwargs):
        """Compiles and trains `model`; the best weights on `valid` are in it afterwards.

        Args:
            model: a `CTRModel`.
            train: training data, batched by `batch_size` already.
            valid: validation data. The test split is never looked at.
            **kwargs: of `model.fit`, such as `epochs` (default: the recipe's) or `verbose`.

        Returns:
            Keras's `History`.
        """
        kwargs = {"epochs": self.epochs, **kwargs}
        callbacks = self.callbacks() + list(kwargs.pop("callbacks", None) or [])
        self.compile(model)
        return model.fit(train, validation_data=valid, callbacks=callbacks, **kwargs)


# What most models of the BARS benchmark use per data set, and the L2, width and batch norm of those
# that differ. Dropout and depth differ too: on Frappe_x1 a model's settings file says where its own
# are others. On the x4 sets, which no run here has used yet, that is still to be done, and with it
# the batch size of FinalNet and AFN, the patience of 1 of FinalMLP, FinalNet and MaskNet on Avazu.
_BARS = {
    "frappe_x1": {
        "dim": 10,
        "units": (400, 400, 400),
        "dropout": 0.2,
        "norm": True,
        "l2": 0.05,
        "batch": 4096,
    },
    "criteo_x4": {
        "dim": 16,
        "units": (1000,) * 5,
        "dropout": 0.2,
        "norm": False,
        "l2": 1e-5,
        "batch": 10000,
    },
    "avazu_x4": {
        "dim": 16,
        "units": (2000,) * 4,
        "dropout": 0.0,
        "norm": False,
        "l2": 0.0,
        "batch": 10000,
    },
}
_BARS_L2 = {
    "lr": {"frappe_x1": 1e-5, "criteo_x4": 1e-7, "avazu_x4": 1e-8},
    "fm": {"frappe_x1": 5e-6, "criteo_x4": 1e-5, "avazu_x4": 1e-6},
    "ffm": {"frappe_x1": 1e-6, "criteo_x4": 1e-6},
    "fwfm": {"frappe_x1": 5e-6, "criteo_x4": 5e-6, "avazu_x4": 1e-6},
    "fmfm": {"frappe_x1": 1e-5},
    "afm": {"frappe_x1": 1e-5, "criteo_x4": 1e-6, "avazu_x4": 1e-7},
    "wide_deep": {"frappe_x1": 0.1, "avazu_x4": 1e-9},
    "ipnn": {"avazu_x4": 1e-9},
    "nfm": {"frappe_x1": 1e-4, "avazu_x4": 1e-9},
    "dcn": {"avazu_x4": 1e-8},
    "xdeepfm": {"frappe_x1": 0.1, "criteo_x4": 1e-4},
    "autoint_plus": {"frappe_x1": 0.1, "avazu_x4": 1e-7},
    "fibinet": {"criteo_x4": 1e-6},
    "masknet": {"frappe_x1": 0.1, "avazu_x4": 1e-9},
    "afn": {"frappe_x1": 1e-3, "criteo_x4": 1e-6, "avazu_x4": 1e-9},
    "dlrm": {"frappe_x1": 0.1},
    "finalmlp": {"avazu_x4": 1e-9},
    "finalnet": {"frappe_x1": 0.1},
    "autoint": {"avazu_x4": 1e-6},
    "dnn": {"avazu_x4": 1e-8},
    "dcnv2": {"avazu_x4": 1e-9},
}
# Batch norm in the tower: on Frappe_x1 the rule, on the x4 sets the exception.
_BARS_NORM = {
    "ipnn": {"frappe_x1": False},
    "nfm": {"frappe_x1": False},
    "masknet": {"frappe_x1": False},
    "afn": {"frappe_x1": False, "criteo_x4": True, "avazu_x4": True},
    "dcnv2": {"criteo_x4": True},
}
_BARS_DIM = {"ffm": {"criteo_x4": 4, "avazu_x4": 8}}
_BARS_ELSEWHERE = _BARS["frappe_x1"] | {"l2": 1e-5}


def quick(data=None, model=None):
    """A short run to look around: Adam, three epochs, no schedule. Our choice."""
    return Recipe("quick", epochs=3)


def bars(data=None, model=None):
    """The training recipe of the BARS benchmark (reczoo/BARS, run with reczoo/FuxiCTR).

    Adam at 1e-3 with epsilon 1e-8, global gradient norm clipped at 10, L2 on all embedding weights,
    batch norm in towers on Frappe_x1; after every epoch that does not improve the validation AUC by
    1e-6 the learning rate falls to a tenth, after two in a row training stops and the best weights
    return.
    On its x4 sets BARS watches AUC minus log loss instead of AUC; the two seldom disagree.

    Args:
        data: name of a data set, for its sizes and regularisation; others get small ones.
        model: name of a model, for its regularisation, width and batch norm where BARS gives it
            others.
    """
    settings = _BARS.get(data, _BARS_ELSEWHERE)
    return Recipe(
        "bars",
        model={"embedding_dim": _BARS_DIM.get(model, {}).get(data, settings["dim"])},
        tower={
            "hidden_units": settings["units"],
            "dropout": settings["dropout"],
            "batch_norm": _BARS_NORM.get(model, {}).get(data, settings["norm"]),
        },
        batch_size=settings["batch"],
        epochs=100,
        epsilon=1e-8,
        global_clipnorm=10.0,
        table_l2=_BARS_L2.get(model, {}).get(data, settings["l2"]),
        table_optimizer="dense",  # BARS regularises every row in every step
        patience=2,
    )


def short(data=None, model=None):
    """Two epochs at one small size, the same for every model: to compare architectures with seeds.

    Chosen once, with `onetrans` on the validation split of Frappe, among learning rates 1e-3 and
    3e-3 and `table_l2` 0 and 0.01; two epochs, so that thirteen models with five seeds are trained
    in little more than an hour. Far from the end of training: differences are those of a start.
    """
    return Recipe(
        "short",
        model=SHORT | SHORT_OF.get(model, {}),
        tower={"hidden_units": (128, 128, 128), "dropout": 0.1},
        batch_size=1024,
        epochs=2,
        table_l2=0.01,
    )


# The size of `short`. Where an argument means something else in a model, the model has its own.
SHORT = {
    "embedding_dim": 10,
    "token_dim": 32,
    "num_tokens": 4,
    "num_layers": 4,
    "num_heads": 4,
    "dropout": 0.1,
}
SHORT_OF = {
    "autoint": {"attention_dim": 32},
    "hstu": {"hidden_units": (128,)},
    "xdeepfm": {"cin_units": (32, 32)},
    "wukong": {"fm_tokens": 8, "linear_tokens": 8, "fm_units": (64,), "hidden_units": (128, 128)},
}


def short_synthetic(data=None, model=None):
    """`short` on generated data: batches of 256, no L2.

    The learning rate was chosen with `onetrans` on the validation split, 1e-3 rather than 3e-3.
    """
    return dataclasses.replace(
        short(data, model), name="short_synthetic", batch_size=256, table_l2=0.0
    )


def short_history(data=None, model=None):
    """`short` with two layers, for data with behaviour histories, whose events are many tokens.

    MovieLens-100k has 80 steps an epoch: there, up to eight epochs are trained, with the stopping
    rule of `bars`, and the best one on validation counts.
    """
    size = SHORT | SHORT_OF.get(model, {}) | {"num_layers": 2}
    small = {"epochs": 8, "patience": 2} if data == "movielens_100k" else {}
    return dataclasses.replace(
        short(data, model), name="short_history", model=size, table_l2=0.0, **small
    )


def one_call(data=None, model=None, rows=30_000):
    """What `keras_ctr.fit` does: AdamW, an ensemble tower, a moving average, early stopping.

    An epoch is some hundred steps (`datasets.from_pandas` says how), and training goes on until
    four epochs, or about 300 steps, have not made the validation log loss smaller. The L2 on tables
    is 1000 of a row's gain spread over all rows: a value must be seen often to have a large vector.
    Chosen on validation parts of Adult, Bank, Frappe and three generated sets (`make
    bench-defaults`); the tower after TabM (arXiv 2410.24210), the average and the decay near those
    of RealMLP (arXiv 2407.04491).

    Args:
        data: not looked at.
        model: not looked at.
        rows: number of rows to train on.
    """
    from keras_ctr.datasets.sizes import batch_size_for  # here: the package opens without data

    batch = batch_size_for(rows)
    steps = max(1, rows // batch)
    large = rows > LARGE
    units = (256, 256, 256) if large else (128, 128)
    return Recipe(
        "one_call",
        model={"embedding_dim": 16},
        tower={"hidden_units": units, "dropout": 0.1},
        members=4 if large else 8,
        batch_size=batch,
        epochs=min(200, max(30, 1500 // steps)),
        learning_rate=2e-3,
        weight_decay=1e-2,
        table_l2=min(1000.0 / rows, 0.1),
        ema=0.99,
        monitor="val_logloss",
        patience=max(4, 300 // steps),
        plateau=None,
    )


RECIPES = {
    "one_call": one_call,
    "quick": quick,
    "bars": bars,
    "short": short,
    "short_synthetic": short_synthetic,
    "short_history": short_history,
}


def names():
    """Returns the names of all recipes."""
    return list(RECIPES)


def get(name, data=None, model=None):
    """Returns the recipe `name` with its settings for a data set and a model, by their names."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name](data, model)
