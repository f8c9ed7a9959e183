"""Maps from the probabilities of a trained model to calibrated ones, as `Click` applies them."""

from keras_ctr.layers.recalibration.isotonic import Isotonic
from keras_ctr.layers.recalibration.platt import Platt

METHODS = {"platt": Platt, "isotonic": Isotonic}


def recalibration(config):
    """Returns the map of a config as `to_dict` gives it."""
    config = dict(config)
    return METHODS[config.pop("method")](**config)
