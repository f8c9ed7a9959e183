"""An exported graph as a `.pt2` file of PyTorch: one function of torch per ONNX operator.

PyTorch has no tensors of text, so the graph starts at packed arrays. It is that of `_onnx`, and not
what `torch.export` finds in Keras's calls, where shapes that come from NumPy are taken for data.
"""

import functools
import json
import zipfile

import numpy as np

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

    def run(arrays):
        with torch.no_grad():
            [values] = program({k: torch.as_tensor(a) for k, a in arrays.items()}).values()
        return values.numpy()

    return further, run


def _torch():
    try:
        import torch
    except ImportError as error:
        raise ImportError("A .pt2 file needs PyTorch: `pip install keras-ctr[torch]`.") from error
    return torch


def _module(torch, made, output):
    """The graph as a module, whose buffers are the weights."""
    from onnx import helper, numpy_helper

    nodes = []
    for node in made.graph.node:
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        options = {k: v.decode() if isinstance(v, bytes) else v for k, v in options.items()}
        nodes.append((node, _function(torch, node, options)))
    weights = {proto.name: numpy_helper.to_array(proto) for proto in made.graph.initializer}

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.places = {name: f"weight_{at}" for at, name in enumerate(weights)}
            for name, place in self.places.items():
                self.register_buffer(place, torch.from_numpy(np.array(weights[name])))

        def forward(self, batch):
            found = {name: getattr(self, place) for name, place in self.places.items()}
            found |= batch
            for node, step in nodes:
                given = [
                    weights[name] if at in step.plain and name in weights else found.get(name)
                    for at, name in enumerate(node.input)
                ]
                made_of = step(*given)
                if len(node.output) == 1:
                    found[node.output[0]] = made_of
                else:
                    found |= dict(zip(node.output, made_of, strict=True))
            return {output: found[output]}

    return Program().eval()


def _function(torch, node, options):
    """What a node does, as a function of its inputs; those at `plain` are taken as NumPy arrays."""
    table = _operators(torch)
    if node.op_type not in table:
        raise NotImplementedError(f"{node.op_type} has no translation to PyTorch here.")
    if node.op_type == "Split":
        options["parts"] = len(node.output)
    step = functools.partial(table[node.op_type], **options)
    step.plain = PLAIN.get(node.op_type, ())
    return step


# Inputs that say shapes, axes and places.
PLAIN = {name: (1,) for name in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")}
PLAIN |= {name: (1,) for name in ("ReduceSum", "Reshape", "Split", "Squeeze", "Tile", "TopK")}
PLAIN |= {"Unsqueeze": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Pad": (1, 2, 3)}


@functools.cache
def _operators(torch):
    """`{ONNX operator: function of its inputs and attributes}`."""
    nn = torch.nn.functional

    def dtype_of(element):
        from onnx import helper

        dtype = helper.tensor_dtype_to_np_dtype(element)
        return torch.from_numpy(np.zeros(0, dtype)).dtype

    def same(function):
        """An operator whose function takes the same inputs, with the same meaning."""
        return lambda *inputs: function(*inputs)

    def each_of(function):
        return lambda *inputs: functools.reduce(function, inputs)

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
        axes = range(len(starts)) if axes is None else axes
        steps = [1] * len(starts) if steps is None else steps
        places = [slice(None)] * x.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            last = None if abs(end) >= 2**31 - 1 else int(end)
            if step < 0:
                x = torch.flip(x, [int(axis)])  # which is all that negative steps are used for
            else:
                places[int(axis)] = slice(int(start), last, int(step))
        return x[tuple(places)]

    def pad(x, pads, value=None, axes=None, mode="constant"):
        axes = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        widths = np.zeros((x.ndim, 2), int)
        for at, axis in enumerate(axes):
            widths[axis] = pads[at], pads[at + len(pads) // 2]
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
