import keras
from keras import ops

from keras_ctr._checks import require_positive
from keras_ctr.layers.base import Layer

SMALLEST = 1e-5  # of an embedding's absolute value: FuxiCTR's, who found it better than 1e-7


class LogarithmicTransform(Layer):
    """Feature products of learned orders: neuron `n` is `exp(Σ_i w_in ln|e_i|) = Π_i |e_i|^w_in`.

    Both logarithms and products go through batch norm, whose channels are the fields and the
    neurons: it averages over rows and embedding dimensions. All of it is float32 under every
    dtype policy, since `exp` of a sum magnifies rounding.

    Args:
        num_neurons: number of logarithmic neurons, the paper's `N`.
        initializer: of the orders. `None`: normal with standard deviation 0.1.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, num_neurons, D)`.

    Reference:
        Cheng et al., "Adaptive Factorization Network", AAAI 2020: logarithmic transformation
        layer. The initial orders are those of the authors' code; absolute values are at least
        1e-5; batch norm has momentum 0.9 and epsilon 1e-5.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, num_neurons=1500, initializer=None, **kwargs):
        super().__init__(**kwargs)
        require_positive(num_neurons=num_neurons)
        self.num_neurons = num_neurons
        self.initializer = initializer
        norm = {"axis": 1, "momentum": 0.9, "epsilon": 1e-5, "dtype": "float32"}
        self.norm_logarithms = keras.layers.BatchNormalization(**norm)
        self.norm_products = keras.layers.BatchNormalization(**norm)

    def build(self, input_shape):
        batch, fields, width = input_shape
        self.norm_logarithms.build(input_shape)
        self.orders = self.add_weight(
            shape=(fields, self.num_neurons),
            initializer=keras.initializers.get(
                self.initializer or keras.initializers.RandomNormal(stddev=0.1)
            ),
            autocast=False,
            name="orders",
        )
        self.norm_products.build((batch, self.num_neurons, width))

    def call(self, x, training=None):
        dtype = x.dtype
        x = ops.log(ops.maximum(ops.abs(ops.cast(x, "float32")), SMALLEST))
        x = self._normalized(self.norm_logarithms, x, training)
        x = ops.einsum("bfd,fn->bnd", x, self.orders)
        return ops.cast(self._normalized(self.norm_products, ops.exp(x), training), dtype)

    def _normalized(self, norm, x, training):
        """What `norm` makes of `x`, with a variance in training that cannot be negative.

        Keras takes the mean of squares less the square of the mean, which of a field that is zero
        in a whole batch, whose logarithm is -11.5 throughout, is often below minus epsilon.
        """
        if not training:
            return norm(x, training=False)
        mean = ops.mean(x, axis=(0, 2))
        apart = x - mean[:, None]
        variance = ops.mean(ops.square(apart), axis=(0, 2))
        for moving, found in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            moving.assign(moving * norm.momentum + found * (1 - norm.momentum))
        scale = norm.gamma / ops.sqrt(variance + norm.epsilon)
        return apart * scale[:, None] + norm.beta[:, None]
