"""Runs the layers of keras-rs or of TensorFlow Recommenders, which are called alike.

python tests/parity/peers/run_keras_layers.py FOLDER keras_rs|tensorflow_recommenders
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"  # for keras-rs
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # for TensorFlow Recommenders: Keras 2
import tensorflow as tf  # noqa: E402
from cases import FIELDS, Writer  # noqa: E402

peer = sys.argv[2]
if peer == "keras_rs":
    from keras_rs.layers import DotInteraction
    from keras_rs.layers import FeatureCross as Cross
else:
    from tensorflow_recommenders.layers.feature_interaction import DotInteraction
    from tensorflow_recommenders.layers.feature_interaction.dcn import Cross

LAYERS = 3
writer = Writer(peer)


def record(case, parts, call, x):
    """Gives the layers `parts` random weights and writes what `call` does with `x` through them."""
    x = tf.constant(x)
    call(x)  # makes the weights
    weights = {}
    for at, part in enumerate(parts):
        for number, weight in enumerate(part.trainable_weights):
            weight.assign(writer.normal(*weight.shape))
            weights[f"{at}.{number}"] = weight
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = call(x)
        cotangent = writer.cotangent(output)
        total = tf.reduce_sum(output * cotangent)
    variables = [w.value if peer == "keras_rs" else w for w in weights.values()]
    gradient, gradients = tape.gradient(total, [x, variables])
    writer.write(
        case,
        output,
        cotangent,
        inputs={"x": x},
        weights={name: tf.convert_to_tensor(weight) for name, weight in weights.items()},
        input_gradients={"x": gradient},
        weight_gradients=dict(zip(weights, gradients, strict=True)),
    )


def record_cross(case, **options):
    """A stack of cross layers, all with the first input."""
    parts = [Cross(**options) for _ in range(LAYERS)]

    def call(first):
        x = first
        for part in parts:
            x = part(first, x)
        return x

    record(case, parts, call, writer.flat())


record_cross("cross")
record_cross("cross_diagonal", diag_scale=0.3)
record_cross("cross_low_rank", projection_dim=3)

# Its pairs are (1, 0), (2, 0), (2, 1), …; ours are (0, 1), (0, 2), …
pairs = [(j, i) for j in range(FIELDS) for i in range(j)]
order = sorted(range(len(pairs)), key=lambda at: pairs[at][::-1])
dot = DotInteraction()
record("dot", [], lambda x: tf.gather(dot(tf.unstack(x, axis=1)), order, axis=1), writer.fields())
