import keras
from keras import ops

from keras_ctr.layers.base import Layer


class AUGRU(Layer):
    """A GRU whose update gate is scaled by attention: `h_t = h_{t-1} + a_t u_t ⊙ (n_t - h_{t-1})`.

    With `r, u = σ(W x_t + b + U h_{t-1} + c)` and `n = tanh(W x_t + b + r ⊙ (U h_{t-1} + c))`.
    Without scores, `a = 1`: a plain GRU. A masked step has `a = 0`, and so leaves the state as it
    was. The state is float32 under every dtype policy: what attention adds in a step is often less
    than the last bit of a bfloat16.

    Args:
        units: width `U` of the state; `None`: that of the input.
        return_sequences: whether every state comes out, not only the last one.

    Call arguments:
        x: `(B, S, K)`.
        scores: optional `(B, S)`, the attention `a`.
        mask: optional `(B, S)` bool, True where there is an event.

    Returns:
        `(B, U)`, or `(B, S, U)`.

    Reference:
        Zhou et al., "Deep Interest Evolution Network", arXiv 1809.03672, eqs. (1) to (4) and the
        AUGRU of section "Interest Evolution Layer". Biases as in cuDNN: inside the reset gate too.
    """

    takes = {"x": "(B, S, K)", "scores": "(B, S)", "mask": "(B, S)"}

    def __init__(self, units=None, return_sequences=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.return_sequences = return_sequences
        # As with Keras's GRU: XLA on TensorFlow has no gradient for a loop over time.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def build(self, x_shape, scores_shape=None, mask_shape=None):
        width = self.width = self.units or x_shape[-1]
        # The order of the gates is reset, update, new.
        self.kernel = self.add_weight(
            shape=(x_shape[-1], 3 * width), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(width, 3 * width), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(2, 3 * width), initializer="zeros", name="bias")

    def call(self, x, scores=None, mask=None):
        bias = ops.cast(self.bias, "float32")
        kernel = ops.convert_to_tensor(self.recurrent_kernel)
        gates = ops.cast(ops.matmul(x, self.kernel), "float32") + bias[0]  # (B, S, 3·U)
        pace = ops.ones_like(gates[..., 0]) if scores is None else ops.cast(scores, "float32")
        if mask is not None:
            pace = pace * ops.cast(mask, "float32")
        steps = ops.concatenate([gates, pace[..., None]], axis=-1)
        steps = ops.transpose(steps, (1, 0, 2))  # (S, B, 3·U + 1)

        def step(state, now):
            past = ops.cast(ops.matmul(ops.cast(state, kernel.dtype), kernel), "float32") + bias[1]
            now_ru, now_n, pace = ops.split(now, [2 * self.width, 3 * self.width], axis=-1)
            past_ru, past_n = ops.split(past, [2 * self.width], axis=-1)
            reset, update = ops.split(ops.sigmoid(now_ru + past_ru), 2, axis=-1)
            state = state + pace * update * (ops.tanh(now_n + reset * past_n) - state)
            return state, state

        start = ops.zeros_like(gates[:, 0, : self.width])
        last, states = ops.scan(step, start, steps, length=x.shape[1])
        found = ops.transpose(states, (1, 0, 2)) if self.return_sequences else last
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, x_shape, scores_shape=None, mask_shape=None):
        width = self.units or x_shape[-1]
        return (*x_shape[:-1], width) if self.return_sequences else (x_shape[0], width)
