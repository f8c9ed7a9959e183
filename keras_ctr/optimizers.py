"""Optimizers that wrap those of Keras.

>>> optimizer = keras_ctr.optimizers.GradientNoise("adam", eta=0.01)
>>> type(optimizer.inner).__name__
'Adam'
"""

import keras
from keras import ops

# Weights in which a row belongs to an id: those of `FeatureEmbedding` and of Keras's `Embedding`.
_TABLES = ("table", "embeddings")


@keras.saving.register_keras_serializable(package="keras_ctr")
class GradientNoise(keras.optimizers.Optimizer):
    """Adds Gaussian noise to every gradient before another optimizer uses it.

    `g + N(0, σ_t²)` with `σ_t² = η / (1 + t)^γ`, `t` being the step: the noise helps a very deep
    network out of a poor start, and fades. In a table it falls only on rows that have a gradient,
    which without a regulariser are the rows in the batch; on all others it would be the only thing
    that moves them (our choice).

    The noise comes before what the inner optimizer does with gradients (clipping, accumulation),
    which is our choice. Its norm is `σ_t·√(number of weights)`: beside it, a small
    `global_clipnorm` leaves little of the gradient. Learning rate and steps are the inner
    optimizer's. The state of the random numbers is saved with the model, so that training goes on
    as if it had not stopped.

    Args:
        inner: Keras optimizer, or its name.
        eta: `η`, one of 0.01, 0.3 and 1.0 in the paper. The default is its smallest.
        gamma: `γ`, by which the noise fades.
        seed: int, or `None` for one from `keras.utils.set_random_seed`.

    Reference:
        Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", arXiv
        1511.06807.
    """

    def __init__(self, inner="adam", eta=0.01, gamma=0.55, seed=None, name=None):
        if eta < 0:
            raise ValueError(f"`eta` is a variance and not negative. Received: eta={eta}")
        super().__init__(learning_rate=0.0, name=name)
        self.inner = keras.optimizers.get(inner)
        self.eta = eta
        self.gamma = gamma
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)

    def build(self, variables):
        super().build(variables)
        self.by_row = tuple(_is_table(variable) for variable in variables)
        self.inner.build(variables)

    def apply(self, grads, trainable_variables=None):
        """Adds the noise, then updates the variables as the inner optimizer does."""
        if trainable_variables is None:
            by_row = self.by_row
        else:
            trainable_variables = list(trainable_variables)
            by_row = [_is_table(variable) for variable in trainable_variables]
            if not self.built:
                self.build(trainable_variables)
        sigma = self.sigma()
        noisy = [self._noisy(g, sigma, rows) for g, rows in zip(grads, by_row, strict=True)]
        self.inner.apply(noisy, trainable_variables)

    def sigma(self):
        """Returns the standard deviation `σ_t` of the noise at the coming step."""
        step = ops.cast(self.iterations, "float32")
        return ops.sqrt(self.eta / (1.0 + step) ** self.gamma)

    def _noisy(self, gradient, sigma, by_row):
        if gradient is None:
            return None
        gradient = ops.reshape(gradient, gradient.shape)  # makes TensorFlow's `IndexedSlices` dense
        noise = sigma * keras.random.normal(gradient.shape, dtype="float32", seed=self.random)
        if by_row:
            present = ops.any(gradient != 0, axis=-1, keepdims=True)
            noise = noise * ops.cast(present, "float32")
        return gradient + ops.cast(noise, gradient.dtype)

    # What Keras asks of an optimizer is the inner one's

    @property
    def variables(self):
        return [self.random.state, *self.inner.variables]

    @property
    def iterations(self):
        return self.inner.iterations

    @property
    def learning_rate(self):
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner.learning_rate = learning_rate

    def scale_loss(self, loss):
        return self.inner.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner.finalize_variable_values(var_list)

    def save_own_variables(self, store):
        """Saves the random state. Keras saves the inner optimizer by itself, as an attribute."""
        store["random"] = ops.convert_to_numpy(self.random.state)

    def load_own_variables(self, store):
        """The inverse of `save_own_variables`."""
        self.random.state.assign(store["random"])

    def get_config(self):
        return {
            "inner": portable(keras.saving.serialize_keras_object(self.inner)),
            "eta": self.eta,
            "gamma": self.gamma,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects)
        return cls(**{**config, "inner": inner})


def portable(config):
    """Returns the serialised form of an optimizer, such that any backend can read it.

    On PyTorch, Keras's optimizers are classes of that backend and are serialised as such; on
    another one they would load and then fail at the first step.
    """
    if not isinstance(config, dict):
        return config
    config = {key: portable(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend."):
        config["module"] = "keras.optimizers"
    return config


def _is_table(variable):
    return getattr(variable, "path", variable.name).split("/")[-1] in _TABLES
