"""What a model costs, counted from its calls."""

from keras_ctr.measure.flops import Flops, flops

__all__ = ["Flops", "flops"]
