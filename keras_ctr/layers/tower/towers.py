"""The towers that models know by name, as Keras knows activations."""

import keras

from keras_ctr._checks import unknown
from keras_ctr.layers.copies import copy_of
from keras_ctr.layers.tower.mlp import MLP
from keras_ctr.layers.tower.skip_meta_logit import SkipMetaLogit
from keras_ctr.layers.tower.tabm import TabM

TOWERS = {"mlp": MLP, "sml": SkipMetaLogit, "tabm": TabM}
TOWER_ARGUMENTS = ("hidden_units", "dropout", "activation")  # of which a tower by name is made


def get_tower(tower, hidden_units, activation="relu", dropout=0.0, alone=False):
    """Returns the tower of a model: a copy of a layer, or a new one by its name.

    >>> keras_ctr.layers.get_tower("sml", [8, 4]).hidden_units
    [8, 4]

    Args:
        tower: pattern, a layer that maps `(B, F, D)` or `(B, K)` to features `(B, K')` or a logit
            `(B, 1)`, or to those of an ensemble's members, `(B, M, K')`; or `"mlp"`, an `MLP`; or
            `"sml"`, a `SkipMetaLogit`; or `"tabm"`, a `TabM`. `None`: `"mlp"`.
        hidden_units: widths of the layers, for a tower by name.
        activation: name of a Keras activation, or `"dice"`, for a tower by name.
        dropout: rate, for a tower by name.
        alone: whether the logit has no part but the tower's; then `"sml"` has a linear term too,
            as its `x_0`.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if isinstance(tower, keras.Layer):
        return copy_of(tower)
    name = "mlp" if tower is None else tower
    if name not in TOWERS:
        raise unknown("tower", name, TOWERS)
    extra = {"linear": True} if alone and name == "sml" else {}
    return TOWERS[name](hidden_units, activation, dropout, **extra)
