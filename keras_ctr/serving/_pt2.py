"""An exported graph as a `.pt2` file of PyTorch: one function of torch per ONNX operator.

PyTorch has no tensors of text, so the graph starts at packed arrays. It is that of `_onnx`, and not
what `torch.export` finds in Keras's calls, where shapes that come from NumPy are taken for data.
"""

import functools
import json
import zipfile

import numpy as np

from keras_ctr.serving._graphs import (
    each_of,
    inputs,
    numpy_dtype,
    operation,
    pad_widths,
    run,
    same,
    slices,
)

CARD = "keras_ctr.json"  # of the extra files in the archive


def write_pt2(made, path, output, example, further):
    """Writes an `onnx.ModelProto` of packed arrays as a program of `torch.export`.

    The program is called with one dict of tensors, `{input: (rows, width)}`, and returns a dict of
    one.

    Args:
        made: the model.
        path: of the file.
        output: name of the output.
        example: `{input: array}` of at least two rows, to trace with.
        further: what the file is to hold beside the program: a dict that JSON can hold.

    Raises:
        ImportError: PyTorch is missing.
    """
    torch = _torch()
    program = torch.export.export(
        _module(torch, made, output),
        ({name: torch.as_tensor(array) for name, array in example.items()},),
        dynamic_shapes=({name: {0: torch.export.Dim("rows", min=1)} for name in example},),
        strict=False,
    )
    torch.export.save(program, str(path), extra_files={CARD: json.dumps(further)})


def read_pt2(path):
    """Returns what `write_pt2` was given as `further`, and a function of `{input: array}`.

    Raises:
        ValueError: not such a file.
        ImportError: PyTorch is missing.
    """
    torch = _torch()
    found = {CARD: ""}
    try:
        with zipfile.ZipFile(path) as file:  # whose sums PyTorch does not look at
            damaged = file.testzip()
        if damaged is not None:
            raise ValueError(f"changed bytes in {damaged}")
        program = torch.export.load(str(path), extra_files=found).module()
        further = json.loads(found[CARD])
    except Exception as error:  # PyTorch's are of many kinds
        raise ValueError(
            f"{path} must be a file that `model.export` wrote, whole. Received: {error}"
        ) from error

    def predict(arrays):
        with torch.no_grad():
            [values] = program({k: torch.as_tensor(a) for k, a in arrays.items()}).values()
        return values.numpy()

    return further, predict


def _torch():
    try:
        import torch
    except ImportError as error:
        raise ImportError("A .pt2 file needs PyTorch: `pip install keras-ctr[torch]`.") from error
    return torch


def _module(torch, made, output):
    """The graph as a module, whose buffers are the weights."""
    from onnx import numpy_helper

    table = _operators(torch)
    steps = [(node, operation(node, table, "PyTorch")) for node in made.graph.node]
    weights = {proto.name: numpy_helper.to_array(proto) for proto in made.graph.initializer}

    def given(node, found):
        """Inputs; those that say shapes, axes and places are NumPy arrays where they can be."""
        plain = PLAIN.get(node.op_type, ())
        return [
            weights.get(name, x) if at in plain else x
            for at, (name, x) in enumerate(zip(node.input, inputs(node, found), strict=True))
        ]

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.places = {name: f"weight_{at}" for at, name in enumerate(weights)}
            for name, place in self.places.items():
                self.register_buffer(place, torch.from_numpy(np.array(weights[name])))

        def forward(self, batch):
            found = {name: getattr(self, place) for name, place in self.places.items()}
            found |= batch
            run(steps, found, given)
            return {output: found[output]}

    return Program().eval()


# Inputs that say shapes, axes and places.
PLAIN = {name: (1,) for name in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")}
PLAIN |= {name: (1,) for name in ("ReduceSum", "Reshape", "Split", "Squeeze", "Tile", "TopK")}
PLAIN |= {"Unsqueeze": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Pad": (1, 2, 3)}


@functools.cache
def _operators(torch):
    """`{ONNX operator: function of its inputs and attributes}`."""
    nn = torch.nn.functional

    def dtype_of(element):
        return torch.from_numpy(np.zeros(0, numpy_dtype(element))).dtype

    def over(function):
        """A reduction over the axes of a second input."""

        def reduce(x, axes=None, keepdims=1, noop_with_empty_axes=0):
            axes = list(range(x.ndim)) if axes is None else np.reshape(axes, -1).tolist()
            return function(x, axes, bool(keepdims))

        return reduce

    def product(x, axes, keepdims):
        for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
            x = torch.prod(x, axis, keepdim=keepdims)
        return x

    def reshape(x, shape, allowzero=0):
        return torch.reshape(x, [x.shape[a] if n == 0 else int(n) for a, n in enumerate(shape)])

    def cut(x, starts, ends, axes=None, steps=None):
        places = slices(x.ndim, starts, ends, axes, steps)
        turned = [axis for axis, place in enumerate(places) if (place.step or 1) < 0]
        for axis in turned:  # to turn an axis round is all that negative steps are used for
            places[axis] = slice(None)
        return torch.flip(x, turned)[tuple(places)] if turned else x[tuple(places)]

    def pad(x, pads, value=None, axes=None, mode="constant"):
        widths = pad_widths(x.ndim, pads, axes)
        value = 0 if value is None else np.reshape(value, ()).item()
        return nn.pad(x, widths[::-1].reshape(-1).tolist(), value=value)

    def split(x, sizes=None, axis=0, parts=None, num_outputs=None):
        if sizes is None:
            return torch.chunk(x, parts, axis)
        return torch.split(x, [int(size) for size in sizes], axis)

    def top(x, k, axis=-1, largest=1, sorted=1):
        return torch.topk(x, int(np.reshape(k, -1)[0]), axis, bool(largest), True)

    def expand(x, shape):
        if isinstance(shape, np.ndarray):
            shape = shape.tolist()
        return x.expand(torch.broadcast_shapes(x.shape, tuple(shape)))

    def transpose(x, perm):
        return torch.permute(x, list(perm))

    def gather(x, at, axis=0):
        axis, flat = axis % x.ndim, torch.reshape(at, (-1,)).to(torch.int64)
        found = torch.index_select(x, axis, torch.where(flat < 0, flat + x.shape[axis], flat))
        return torch.reshape(found, (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))

    def unsqueeze(x, axes):
        return functools.reduce(torch.unsqueeze, sorted(np.reshape(axes, -1).tolist()), x)

    def squeeze(x, axes=None):
        return torch.squeeze(x) if axes is None else torch.squeeze(x, tuple(map(int, axes)))

    def clip(x, low=None, high=None):
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)

    return {
        "Abs": same(torch.abs),
        "Add": same(torch.add),
        "And": same(torch.logical_and),
        "Atan": same(torch.atan),
        "Cast": lambda x, to: x.to(dtype_of(to)),
        "Ceil": same(torch.ceil),
        "Celu": lambda x, alpha=1.0: nn.celu(x, alpha),
        "Clip": clip,
        "Concat": lambda *inputs, axis: torch.cat(inputs, axis),
        "Cos": same(torch.cos),
        "Cosh": same(torch.cosh),
        "Div": lambda x, y: x / y if x.is_floating_point() else x // y,
        "Einsum": lambda *inputs, equation: torch.einsum(equation, *inputs),
        "Elu": lambda x, alpha=1.0: nn.elu(x, alpha),
        "Equal": same(torch.eq),
        "Erf": same(torch.erf),
        "Exp": same(torch.exp),
        "Expand": expand,
        "Floor": same(torch.floor),
        "Gather": gather,
        "GatherElements": lambda x, at, axis=0: torch.gather(x, axis, at.to(torch.int64)),
        "Gelu": lambda x, approximate="none": nn.gelu(x, approximate=approximate),
        "Greater": same(torch.gt),
        "GreaterOrEqual": same(torch.ge),
        "Identity": lambda x: x,
        "IsNaN": same(torch.isnan),
        "LeakyRelu": lambda x, alpha=0.01: nn.leaky_relu(x, alpha),
        "Less": same(torch.lt),
        "LessOrEqual": same(torch.le),
        "Log": same(torch.log),
        "LogSoftmax": lambda x, axis=-1: torch.log_softmax(x, axis),
        "MatMul": same(torch.matmul),
        "Max": each_of(torch.maximum),
        "Min": each_of(torch.minimum),
        "Mul": same(torch.mul),
        "Neg": same(torch.neg),
        "Not": same(torch.logical_not),
        "Or": same(torch.logical_or),
        "Pad": pad,
        "Pow": same(torch.pow),
        "Reciprocal": same(torch.reciprocal),
        "ReduceMax": over(torch.amax),
        "ReduceMean": over(torch.mean),
        "ReduceMin": over(torch.amin),
        "ReduceProd": over(product),
        "ReduceSum": over(torch.sum),
        "Relu": same(torch.relu),
        "Reshape": reshape,
        "Round": same(torch.round),
        "Selu": lambda x, alpha=None, gamma=None: nn.selu(x),
        "Shape": lambda x: x.shape,
        "Shrink": lambda x, lambd=0.5, bias=0.0: torch.where(
            x > lambd, x - bias, torch.where(x < -lambd, x + bias, torch.zeros_like(x))
        ),
        "Sigmoid": same(torch.sigmoid),
        "Sign": same(torch.sign),
        "Sin": same(torch.sin),
        "Sinh": same(torch.sinh),
        "Slice": cut,
        "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
        "Softplus": same(nn.softplus),
        "Softsign": same(nn.softsign),
        "Split": split,
        "Sqrt": same(torch.sqrt),
        "Squeeze": squeeze,
        "Sub": same(torch.sub),
        "Tan": same(torch.tan),
        "Tanh": same(torch.tanh),
        "Tile": lambda x, repeats: torch.tile(x, tuple(np.asarray(repeats).tolist())),
        "TopK": top,
        "Transpose": transpose,
        "Unsqueeze": unsqueeze,
        "Where": same(torch.where),
        "Xor": same(torch.logical_xor),
    }
