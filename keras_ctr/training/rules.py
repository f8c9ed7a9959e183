"""Optimizers of table rows: what an optimizer does to a row that is seen now and then.

Each is a rule on `(n, D)` rows; which rows, and how they are read and written, is in `tables.py`.
"""

import math

from keras import ops

from keras_ctr._checks import unknown
from keras_ctr._config import FromSignature


class _Config:
    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class TableOptimizer(FromSignature, _Config):
    """Base class of the optimizers of table rows.

    A rule is exact: for rows that are in every batch it does what Keras's optimizer of the same
    name does, to rounding.

    Attributes:
        learning_rate: a number; `None`, that of the model's optimizer at each step.
    """

    learning_rate = None
    decays = False  # whether a row must know the step at which it was last in a batch
    moves_at_rest = False  # whether a gradient and slots of zero can change a row

    def slots(self, width):
        """Returns `{name: (width, initial value)}` of what is kept for each row."""
        return {}

    def settle(self, rows, slots, step, learning_rate, since, until):
        """Returns rows as the skipped steps would have left them.

        Args:
            rows: `(n, D)`.
            slots: dict of `(n, width)`, as of the step at which a row was last in a batch.
            step: `(n, 1)` that step, 0 if there was none.
            learning_rate: scalar, assumed to have been the same in the steps skipped.
            since, until: `(n, 1)`, the steps `step + since + 1 … step + until` are made up for.
        """
        return rows

    def update(self, rows, gradient, slots, step, learning_rate, gap):
        """Returns new rows and slots.

        Args:
            rows: `(n, D)`, settled.
            gradient: `(n, D)`, of equal ids summed.
            slots: dict of `(n, width)`.
            step: scalar, from 1.
            learning_rate: scalar.
            gap: `(n, 1)`, steps since the row was last in a batch, at least 1.
        """
        raise NotImplementedError


class SGD(TableOptimizer):
    """`w - η·g`, without momentum.

    Args:
        learning_rate: `η`; `None`: that of the model's optimizer.
    """

    def __init__(self, learning_rate=None):
        self.learning_rate = learning_rate

    def update(self, rows, gradient, slots, step, learning_rate, gap):
        return rows - learning_rate * gradient, {}


class Adagrad(TableOptimizer):
    """`w - η·g / √(a + ε)` with the sum `a` of squared gradients, one per weight.

    Args:
        learning_rate: `η`; `None`: that of the model's optimizer.
        initial_accumulator_value: `a` at the start.
        epsilon: `ε`.
    """

    def __init__(self, learning_rate=None, initial_accumulator_value=0.1, epsilon=1e-7):
        self.learning_rate = learning_rate
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def slots(self, width):
        return {"accumulator": (width, self.initial_accumulator_value)}

    def update(self, rows, gradient, slots, step, learning_rate, gap):
        total = slots["accumulator"] + self._power(gradient)
        rows = rows - learning_rate * gradient * ops.rsqrt(total + self.epsilon)
        return rows, {"accumulator": total}

    def _power(self, gradient):
        return ops.square(gradient)


class RowWiseAdagrad(Adagrad):
    """Adagrad with one accumulator per row, the sum of `mean_d g_d²`: a slot of one number per row.

    What large recommendation models use to save memory (DLRM, arXiv 1906.00091, and FBGEMM's
    "exact row-wise Adagrad").
    """

    def slots(self, width):
        return {"accumulator": (1, self.initial_accumulator_value)}

    def _power(self, gradient):
        return ops.mean(ops.square(gradient), axis=-1, keepdims=True)


class FTRL(TableOptimizer):
    """Follow the regularised leader, with L1: weights of rare values are exactly 0.

    McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1, in the
    form of `keras.optimizers.Ftrl`. A weight is a function of its slots alone: what it was before
    its first batch is forgotten. (Keras's dense form sets all others to 0 in the first step.)

    Args:
        learning_rate: `α`; `None`: that of the model's optimizer.
        learning_rate_power: at most 0; -0.5 is the paper's square root.
        initial_accumulator_value: of the sum of squared gradients.
        l1: `λ_1`.
        l2: `λ_2`.
        beta: `β`.
    """

    moves_at_rest = True

    def __init__(
        self,
        learning_rate=None,
        learning_rate_power=-0.5,
        initial_accumulator_value=0.1,
        l1=0.0,
        l2=0.0,
        beta=0.0,
    ):
        self.learning_rate = learning_rate
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1 = l1
        self.l2 = l2
        self.beta = beta

    def slots(self, width):
        return {"accumulator": (width, self.initial_accumulator_value), "linear": (width, 0.0)}

    def update(self, rows, gradient, slots, step, learning_rate, gap):
        total = slots["accumulator"] + ops.square(gradient)
        scale, before = (
            ops.power(value, -self.learning_rate_power) / learning_rate
            for value in (total, slots["accumulator"])
        )
        linear = slots["linear"] + gradient - (scale - before) * rows
        quadratic = scale + 2 * self.l2 + self.beta / learning_rate
        rows = (ops.clip(linear, -self.l1, self.l1) - linear) / quadratic
        return rows, {"accumulator": total, "linear": linear}


class Adam(TableOptimizer):
    """Adam on the rows of a batch, with the steps between two batches made up for.

    Dense Adam moves a row in every step, by its fading moments also when it has no gradient: a
    value seen once moves ten times as far in the steps after its batch as in that batch. Skipping
    those steps ("lazy" Adam) would train rare values much less. Here a row that returns after `k`
    steps first gets `m·β_1^k`, `v·β_2^k` and the moves of the `k - 1` steps between,
    `η·c·m/(√v + ε)·Σ_j r^j` with `r = β_1/√β_2` and the bias correction `c` at their centre of
    mass: a geometric sum, exact but for `ε` and the drift of `c` and `η`. Before an evaluation all
    rows get the moves that they are owed (`CTRModel.settle`).

    The scheme is our own; the rule for rows in every batch is that of Kingma and Ba, arXiv
    1412.6980, in the form of `keras.optimizers.Adam`.

    Args:
        learning_rate: `η`; `None`: that of the model's optimizer.
        beta_1, beta_2: decays of the moments.
        epsilon: `ε`.
        weight_decay: that of AdamW, likewise made up for; `None`: none.
    """

    decays = True

    def __init__(
        self, learning_rate=None, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None
    ):
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def slots(self, width):
        return {"momentum": (width, 0.0), "velocity": (width, 0.0)}

    def _size(self, step, learning_rate):
        """The learning rate with the bias corrections of both moments."""
        correction = ops.sqrt(1 - _power(self.beta_2, step)) / (1 - _power(self.beta_1, step))
        return learning_rate * correction

    def settle(self, rows, slots, step, learning_rate, since, until):
        ratio = self.beta_1 * self.beta_2**-0.5
        skipped = until - since
        faded = _power(ratio, skipped)
        moves = _power(ratio, since + 1) * (1 - faded) / (1 - ratio)  # Σ_j r^j
        mean = since + 1 / (1 - ratio) - skipped * faded / ops.maximum(1 - faded, 1e-6)
        size = self._size(step + mean, learning_rate) * moves  # (n, 1)
        if self.weight_decay:
            rows = rows * ops.power(1 - learning_rate * self.weight_decay, until - since)
        return rows - size * slots["momentum"] / (ops.sqrt(slots["velocity"]) + self.epsilon)

    def update(self, rows, gradient, slots, step, learning_rate, gap):
        momentum = slots["momentum"] * _power(self.beta_1, gap) + (1 - self.beta_1) * gradient
        velocity = slots["velocity"] * _power(self.beta_2, gap)
        velocity = velocity + (1 - self.beta_2) * ops.square(gradient)
        if self.weight_decay:
            rows = rows * (1 - learning_rate * self.weight_decay)
        size = self._size(step, learning_rate)
        rows = rows - size * momentum / (ops.sqrt(velocity) + self.epsilon)
        return rows, {"momentum": momentum, "velocity": velocity}


def _power(base, exponent):
    """`base ** exponent` for a tensor as exponent; `exp` is several times faster than `pow`."""
    return ops.exp(exponent * math.log(base))


RULES = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "row_wise_adagrad": RowWiseAdagrad,
    "ftrl": FTRL,
    "adam": Adam,
}


def get(rule):
    """Returns a `TableOptimizer`: as it is, or a new one by its name."""
    if isinstance(rule, TableOptimizer):
        return rule
    if rule not in RULES:
        raise unknown("table optimizer", rule, RULES)
    return RULES[rule]()


# Settings of Keras's optimizers that have no row form, and the values at which they do nothing.
_IDLE = {
    "amsgrad": (False, None),
    "gradient_accumulation_steps": (None, 1),
    "momentum": (0, 0.0, None),
    "l2_shrinkage_regularization_strength": (0, 0.0, None),
}


def like(optimizer):
    """Returns the rule that does to rows what a Keras optimizer does to dense weights, or None.

    Known are `Adam`, `AdamW`, `Adagrad`, `Ftrl` and `SGD` without momentum; not those with AMSGrad
    or with gradients accumulated over several steps.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of loss scaling
    if any(getattr(optimizer, name, idle[0]) not in idle for name, idle in _IDLE.items()):
        return None
    made = _MADE_FROM.get(type(optimizer).__name__)
    if made is None or (optimizer.weight_decay and made is not _adam):
        return None
    return made(optimizer)


def _adam(keras_one):
    return Adam(
        None,
        keras_one.beta_1,
        keras_one.beta_2,
        keras_one.epsilon,
        keras_one.weight_decay,
    )


def _adagrad(keras_one):
    return Adagrad(None, keras_one.initial_accumulator_value, keras_one.epsilon)


def _ftrl(keras_one):
    return FTRL(
        None,
        keras_one.learning_rate_power,
        keras_one.initial_accumulator_value,
        keras_one.l1_regularization_strength,
        keras_one.l2_regularization_strength,
        keras_one.beta,
    )


_MADE_FROM = {
    "Adam": _adam,
    "AdamW": _adam,
    "Adagrad": _adagrad,
    "Ftrl": _ftrl,
    "SGD": lambda keras_one: SGD(),
}
