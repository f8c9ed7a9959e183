"""`Layer`: a Keras layer whose config is its constructor's signature."""

import keras

from keras_ctr import backend
from keras_ctr._config import Checked
from keras_ctr.backend import internals


class Layer(Checked, keras.layers.Layer):
    """Base of every layer of `keras_ctr`.

    Attributes:
        takes: shapes of the arguments of `call`, by their names and in their order, as docstrings
            write them: `{"x": "(B, K) or (B, F, D)"}`. Each tensor of a list has this shape; a
            tuple of shapes holds those of a list's tensors in turn. Ranks are checked in every
            call. What is not there may have any shape.
    """

    takes = {}
    _ranks = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._ranks = tuple(
            (
                at,
                name,
                [_ranks(shape) for shape in ([shapes] if isinstance(shapes, str) else shapes)],
            )
            for at, (name, shapes) in enumerate(cls.takes.items())
        )

    def __call__(self, *args, **kwargs):
        for at, name, ranks in self._ranks:
            value = args[at] if at < len(args) else kwargs.get(name)
            tensors = keras.tree.flatten(value) if isinstance(value, list | tuple) else (value,)
            for turn, tensor in enumerate(tensors):
                shape = getattr(tensor, "shape", None)
                if shape is not None and len(shape) not in ranks[turn % len(ranks)]:
                    raise self._wrong_rank(name, shape)
        return super().__call__(*args, **kwargs)

    def _wrong_rank(self, name, shape):
        shapes = self.takes[name]
        shapes = (
            f"`{shapes}`" if isinstance(shapes, str) else " and ".join(f"`{s}`" for s in shapes)
        )
        return ValueError(
            f"{type(self).__name__} takes `{name}` of shape {shapes}. Received one of shape "
            f"{tuple(shape)}"
        )

    def quantize(self, mode=None, type_check=True, config=None):
        """Raises `NotImplementedError`: there is no quantized form of these layers."""
        raise NotImplementedError(
            f"{type(self).__name__} has no quantized form: keras_ctr computes in the dtype policy, "
            f"such as 'mixed_bfloat16'. Received: mode={mode!r}"
        )

    def enable_lora(self, rank, **kwargs):
        """Raises `NotImplementedError`: there is no low-rank adaptation of these layers."""
        raise NotImplementedError(
            f"{type(self).__name__} has no low-rank adaptation (LoRA) in keras_ctr: to fine-tune a "
            f"part of a model, set `trainable = False` on the others. Received: rank={rank!r}"
        )

    def compute_output_spec(self, *args, **kwargs):
        """Returns shapes and dtypes of the outputs as the call itself has them.

        Keras would take the compute dtype for all where there is a `compute_output_shape`; but a
        logit is float32, and a layer that holds others puts out what they do.
        """
        dtype = self.compute_dtype if self.autocast else None
        return internals.traced(backend.traceable(self), dtype, args, kwargs)

    def compute_mask(self, *args, **kwargs):
        """Masks are explicit arguments here: none is carried along by a tensor."""
        return None


def _ranks(shapes):
    """The ranks of shapes such as "(B, K) or (B, F, D)"."""
    return {shape.count(",") + 1 for shape in shapes.split(" or ")}
