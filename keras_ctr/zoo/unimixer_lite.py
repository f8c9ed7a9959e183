"""UniMixer-Lite. Card: zoo/unimixer_lite/README.md."""

from keras_ctr import layers
from keras_ctr.zoo.unimixer import UniMixer


class UniMixerLite(UniMixer):
    """`UniMixer` with fewer weights: shared bases within blocks, low rank between them.

    `W_i = Sinkhorn(Σ_j ω_ij Z_j / τ)` and `W_G = Sinkhorn(A B / τ)`.

    Args: those of `UniMixer`, with another default:
        mixing: default `UniMixingLite(block_size=8, num_bases=4, temperature=0.2)`.

    Example:

    >>> model = keras_ctr.zoo.get("unimixer_lite", token_dim=8, num_tokens=4).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        "UniMixer", arXiv 2604.00590, UniMixing-Lite.
    """

    default_mixing = layers.UniMixingLite
