"""What each function of `keras.ops` is in ONNX, by the name of the class behind it."""

import math

import keras
import numpy as np
from keras import ops

from keras_ctr.serving._onnx.graph import WIDENED

UNARY = {
    **{name: name for name in "Ceil Cos Cosh Erf Exp Floor Log Sigmoid Sign Sin Sinh".split()},
    **{name: name for name in "Round Softplus Softsign Sqrt Tan Tanh".split()},
    "Abs": "Abs",
    "Absolute": "Abs",
    "Arctan": "Atan",
    "Isnan": "IsNaN",
    "LogicalNot": "Not",
    "Negative": "Neg",
    "Reciprocal": "Reciprocal",
}
BINARY = {
    "Add": "Add",
    "Divide": "Div",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "LogicalXor": "Xor",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Power": "Pow",
    "Subtract": "Sub",
    "TrueDivide": "Div",
}
COMPARISONS = {
    "Equal": "Equal",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
}
REDUCTIONS = {
    "Max": "ReduceMax",
    "Amax": "ReduceMax",
    "Mean": "ReduceMean",
    "Min": "ReduceMin",
    "Amin": "ReduceMin",
    "Prod": "ReduceProd",
    "Sum": "ReduceSum",
}
ALIASES = ("ConvertToTensor", "Copy", "StopGradient")


class Operations:
    """Writes functions of `keras.ops` as nodes of a graph.

    Args:
        graph: `Graph`.
    """

    def __init__(self, graph):
        self.graph = graph
        self.names = {}  # id of a symbolic tensor -> name in the graph
        self._kept = []  # or ids would be given out again
        self.tables = {}  # name of a weight -> how its rows are looked up, where not by `Gather`

    def bind(self, tensor, name):
        """Says what a symbolic tensor is called in the graph."""
        self.names[id(tensor)] = name
        self._kept.append(tensor)

    def write(self, operation, args, kwargs, outputs):
        """Adds the nodes of one call.

        Raises:
            NotImplementedError: its kind is not known here.
        """
        kind = type(operation).__name__
        out = outputs if isinstance(outputs, keras.KerasTensor) else None
        if kind in UNARY:
            dtype = "bool" if kind in ("LogicalNot",) else self._float_of(args[0], out)
            found = self.graph.add(UNARY[kind], [self.value(args[0], dtype)])
        elif kind in BINARY:
            found = self.graph.add(BINARY[kind], [self.value(x, out.dtype) for x in args[:2]])
        elif kind in COMPARISONS:
            found = self._compared(COMPARISONS[kind], *args[:2])
        elif kind in REDUCTIONS:
            x = self.value(args[0], out.dtype)
            found = self._reduced(REDUCTIONS[kind], x, args[0], operation)
        elif kind in ALIASES:
            found = self.value(args[0], out.dtype)
        elif hasattr(self, f"_{kind.lower()}"):
            found = getattr(self, f"_{kind.lower()}")(operation, *args, out=outputs, **kwargs)
        else:
            raise NotImplementedError(
                f"The function behind `keras.ops`' {kind} has no translation to ONNX here yet."
            )
        flat = keras.tree.flatten(outputs)
        for tensor, name in zip(flat, found if isinstance(found, list) else [found], strict=True):
            self.bind(tensor, name)

    def value(self, x, dtype=None):
        """Returns the name of an argument: a symbolic tensor, or a constant; in a dtype."""
        dtype = WIDENED.get(dtype, dtype)
        if isinstance(x, keras.KerasTensor):
            name, own = self.names[id(x)], WIDENED.get(x.dtype, x.dtype)
            return name if dtype in (None, own) else self.graph.cast(name, dtype)
        if isinstance(x, keras.Variable) or ops.is_tensor(x):
            if keras.backend.standardize_dtype(x.dtype) == "bfloat16":
                x = ops.cast(x, "float32")
            x = ops.convert_to_numpy(x)
        if dtype is None and isinstance(x, float):
            dtype = "float32"
        return self.graph.constant(x, dtype)

    # Dtypes and shapes

    def _float_of(self, x, out):
        """The dtype in which a function of one argument computes."""
        return out.dtype if out.dtype != "bool" else getattr(x, "dtype", "float32")

    def _compared(self, kind, x, y):
        dtypes = [getattr(v, "dtype", type(v)) for v in (x, y)]
        dtypes = [d if isinstance(d, type) else keras.backend.standardize_dtype(d) for d in dtypes]
        common = keras.backend.result_type(*dtypes)
        if common == "bool" and kind != "Equal":
            common = "int32"
        return self.graph.add(kind, [self.value(v, common) for v in (x, y)])

    def _reduced(self, kind, name, x, operation):
        axes = operation.axis
        if axes is None:
            axes = range(len(x.shape))
        axes = [axes] if isinstance(axes, int) else list(axes)
        keep = int(bool(operation.keepdims))
        return self.graph.add(kind, [name, self.graph.shape(axes)], keepdims=keep)

    def _target(self, out):
        """The shape of an output for `Reshape`: -1 for the number of rows."""
        unknown = [at for at, size in enumerate(out.shape) if size is None]
        if len(unknown) > 1:
            raise NotImplementedError(f"Only the number of rows may be open: {out.shape}")
        return self.graph.shape([-1 if size is None else size for size in out.shape])

    def _filled_like(self, x, value, dtype):
        shape = self.graph.add("Shape", [self.value(x)])
        one = self.graph.constant(np.asarray(value, "float32"))
        return self.graph.cast(self.graph.add("Expand", [one, shape]), dtype)

    # Functions

    def _notequal(self, operation, x, y, out):
        return self.graph.add("Not", [self._compared("Equal", x, y)])

    def _cast(self, operation, x, dtype=None, out=None):
        return self.value(x, out.dtype)

    def _square(self, operation, x, out):
        x = self.value(x, out.dtype)
        return self.graph.add("Mul", [x, x])

    def _rsqrt(self, operation, x, out):
        return self.graph.add("Reciprocal", [self.graph.add("Sqrt", [self.value(x, out.dtype)])])

    def _log1p(self, operation, x, out):
        one = self.graph.constant(1.0, "float32")
        return self.graph.add("Log", [self.graph.add("Add", [self.value(x, out.dtype), one])])

    def _silu(self, operation, x, out):
        x = self.value(x, out.dtype)
        return self.graph.add("Mul", [x, self.graph.add("Sigmoid", [x])])

    def _gelu(self, operation, x, out):
        how = "tanh" if operation.approximate else "none"
        return self.graph.add("Gelu", [self.value(x, out.dtype)], approximate=how)

    def _leakyrelu(self, operation, x, out):
        alpha = float(operation.negative_slope)
        return self.graph.add("LeakyRelu", [self.value(x, out.dtype)], alpha=alpha)

    def _relu(self, operation, x, out):
        """`ReLU`, with a slope below `threshold` and a ceiling."""
        name, slope = self.value(x, out.dtype), float(getattr(operation, "negative_slope", 0.0))
        threshold = float(getattr(operation, "threshold", 0.0))
        if threshold:
            raise NotImplementedError(f"A ReLU of threshold {threshold}")
        name = (
            self.graph.add("LeakyRelu", [name], alpha=slope)
            if slope
            else self.graph.add("Relu", [name])
        )
        ceiling = getattr(operation, "max_value", None)
        if ceiling is None:
            return name
        return self.graph.add("Min", [name, self.graph.constant(ceiling, out.dtype)])

    def _elu(self, operation, x, out):
        alpha = float(getattr(operation, "alpha", 1.0))
        return self.graph.add("Elu", [self.value(x, out.dtype)], alpha=alpha)

    def _selu(self, operation, x, out):
        return self.graph.add("Selu", [self.value(x, out.dtype)])

    def _clip(self, operation, x, x_min=None, x_max=None, out=None):
        low = getattr(operation, "x_min", x_min)
        high = getattr(operation, "x_max", x_max)
        bounds = [self.value(bound, out.dtype) for bound in (low, high)]
        return self.graph.add("Clip", [self.value(x, out.dtype), *bounds])

    def _where(self, operation, condition, x1, x2, out):
        parts = [self.value(x, out.dtype) for x in (x1, x2)]
        return self.graph.add("Where", [self.value(condition, "bool"), *parts])

    def _arctan2(self, operation, y, x, out):
        """From `atan(y / x)`, half a turn further where `x < 0`; a quarter where `x = 0`."""
        add, constant = self.graph.add, self.graph.constant
        y, x = (self.value(v, out.dtype) for v in (y, x))
        zero, half, quarter = (constant(v, "float32") for v in (0.0, math.pi, math.pi / 2))
        angle = add("Atan", [add("Div", [y, x])])
        further = add("Where", [add("Less", [y, zero]), add("Neg", [half]), half])
        left = add("Add", [angle, further])
        angle = add("Where", [add("Less", [x, zero]), left, angle])
        upright = add("Mul", [add("Sign", [y]), quarter])
        return add("Where", [add("Equal", [x, zero]), upright, angle])

    def _any(self, operation, x, out):
        x = self._reduced("ReduceMax", self.value(self._bool(x), None), x, operation)
        return self.graph.cast(x, "bool")

    def _all(self, operation, x, out):
        x = self._reduced("ReduceMin", self.value(self._bool(x), None), x, operation)
        return self.graph.cast(x, "bool")

    def _bool(self, x):
        """A symbolic stand-in: the tensor as 0 and 1, int32."""
        tensor = keras.KerasTensor(x.shape, "int32")
        self.bind(tensor, self.graph.cast(self.value(x, "bool"), "int32"))
        return tensor

    def _var(self, operation, x, out):
        name = self.value(x, out.dtype)
        axes = operation.axis if operation.axis is not None else list(range(len(x.shape)))
        axes = [axes] if isinstance(axes, int) else list(axes)
        mean = self.graph.add("ReduceMean", [name, self.graph.shape(axes)], keepdims=1)
        apart = self.graph.add("Sub", [name, mean])
        return self._reduced("ReduceMean", self.graph.add("Mul", [apart, apart]), x, operation)

    def _std(self, operation, x, out):
        return self.graph.add("Sqrt", [self._var(operation, x, out)])

    def _logsumexp(self, operation, x, out):
        name = self.value(x, out.dtype)
        axes = operation.axis if operation.axis is not None else list(range(len(x.shape)))
        axes = self.graph.shape([axes] if isinstance(axes, int) else list(axes))
        top = self.graph.add("ReduceMax", [name, axes], keepdims=1)
        parts = self.graph.add("Exp", [self.graph.add("Sub", [name, top])])
        total = self.graph.add("Log", [self.graph.add("ReduceSum", [parts, axes], keepdims=1)])
        found = self.graph.add("Add", [total, top])
        return found if operation.keepdims else self.graph.add("Squeeze", [found, axes])

    def _softmax(self, operation, x, out):
        axis = operation.axis
        axis = axis if isinstance(axis, int) else axis[0]
        return self.graph.add("Softmax", [self.value(x, out.dtype)], axis=axis)

    def _matmul(self, operation, x1, x2, out):
        return self.graph.add("MatMul", [self.value(x, out.dtype) for x in (x1, x2)])

    _dot = _matmul

    def _einsum(self, operation, *operands, out):
        names = [self.value(x, out.dtype) for x in operands]
        return self.graph.add("Einsum", names, equation=operation.subscripts.replace(" ", ""))

    def _layernorm(self, operation, x, gamma=None, beta=None, out=None):
        """By hand, in float32, over any axes."""
        axes = operation.axis
        axes = self.graph.shape([axes] if isinstance(axes, int) else list(axes))
        name = self.value(x, out.dtype)
        if not operation.rms_scaling:
            mean = self.graph.add("ReduceMean", [name, axes], keepdims=1)
            name = self.graph.add("Sub", [name, mean])
        return self._scaled(name, axes, operation.epsilon, gamma, beta, out)

    def _rmsnorm(self, operation, x, scale=None, out=None):
        axes = operation.axis
        axes = self.graph.shape([axes] if isinstance(axes, int) else list(axes))
        return self._scaled(self.value(x, out.dtype), axes, operation.epsilon, scale, None, out)

    def _scaled(self, name, axes, epsilon, scale, offset, out):
        square = self.graph.add("Mul", [name, name])
        mean = self.graph.add("ReduceMean", [square, axes], keepdims=1)
        mean = self.graph.add("Add", [mean, self.graph.constant(epsilon, "float32")])
        name = self.graph.add("Div", [name, self.graph.add("Sqrt", [mean])])
        if scale is not None:
            name = self.graph.add("Mul", [name, self.value(scale, out.dtype)])
        if offset is not None:
            name = self.graph.add("Add", [name, self.value(offset, out.dtype)])
        return name

    def _batchnorm(self, operation, x, mean, variance, offset=None, scale=None, out=None):
        shape = [1] * len(x.shape)
        shape[operation.axis] = x.shape[operation.axis]
        shape = self.graph.shape(shape)

        def along(v):
            return self.graph.add("Reshape", [self.value(v, "float32"), shape])

        epsilon = self.graph.constant(operation.epsilon, "float32")
        deviation = self.graph.add("Sqrt", [self.graph.add("Add", [along(variance), epsilon])])
        name = self.graph.add("Sub", [self.value(x, "float32"), along(mean)])
        name = self.graph.add("Div", [name, deviation])
        if scale is not None:
            name = self.graph.add("Mul", [name, along(scale)])
        return name if offset is None else self.graph.add("Add", [name, along(offset)])

    # Movement

    def _reshape(self, operation, x, out):
        return self.graph.add("Reshape", [self.value(x), self._target(out)])

    def _expanddims(self, operation, x, out):
        axis = operation.axis
        axes = self.graph.shape([axis] if isinstance(axis, int) else list(axis))
        return self.graph.add("Unsqueeze", [self.value(x), axes])

    def _squeeze(self, operation, x, out):
        return self.graph.add("Reshape", [self.value(x), self._target(out)])

    def _transpose(self, operation, x, out):
        axes = operation.axes or range(len(x.shape))[::-1]
        return self.graph.add("Transpose", [self.value(x)], perm=list(axes))

    def _swapaxes(self, operation, x, out):
        axes = list(range(len(x.shape)))
        one, other = operation.axis1, operation.axis2
        axes[one], axes[other] = axes[other], axes[one]
        return self.graph.add("Transpose", [self.value(x)], perm=axes)

    def _moveaxis(self, operation, x, out):
        axes = list(np.moveaxis(np.empty([1] * len(x.shape)), 0, 0).shape)
        order = np.arange(len(axes))
        sources, targets = (np.atleast_1d(a) for a in (operation.source, operation.destination))
        rest = [at for at in order if at not in [s % len(axes) for s in sources]]
        for target, source in sorted(zip(targets % len(axes), sources % len(axes), strict=True)):
            rest.insert(target, source)
        return self.graph.add("Transpose", [self.value(x)], perm=[int(at) for at in rest])

    def _concatenate(self, operation, xs, out):
        names = [self.value(x, out.dtype) for x in xs]
        return self.graph.add("Concat", names, axis=operation.axis)

    def _stack(self, operation, xs, out):
        axes = self.graph.shape([operation.axis])
        names = [self.graph.add("Unsqueeze", [self.value(x, out.dtype), axes]) for x in xs]
        return self.graph.add("Concat", names, axis=operation.axis)

    def _split(self, operation, x, out):
        sizes = self.graph.shape([part.shape[operation.axis] for part in out])
        found = self.graph.add(
            "Split", [self.value(x), sizes], outputs=len(out), axis=operation.axis
        )
        return [found] if len(out) == 1 else found

    def _unstack(self, operation, x, out):
        found = []
        for at in range(len(out)):
            index = self.graph.constant(np.asarray(at, "int64"))
            found.append(self.graph.add("Gather", [self.value(x), index], axis=operation.axis))
        return found

    def _broadcastto(self, operation, x, out):
        shape = [1 if size is None else size for size in operation.shape]
        return self.graph.add("Expand", [self.value(x), self.graph.shape(shape)])

    def _oneslike(self, operation, x, dtype=None, out=None, **kwargs):
        return self._filled_like(x, 1.0, out.dtype)

    def _zeroslike(self, operation, x, dtype=None, out=None, **kwargs):
        return self._filled_like(x, 0.0, out.dtype)

    def _fulllike(self, operation, x, fill_value, out=None, **kwargs):
        shape = self.graph.add("Shape", [self.value(x)])
        return self.graph.add("Expand", [self.value(fill_value, out.dtype), shape])

    def _pad(self, operation, x, constant_values=None, out=None):
        if operation.mode != "constant":
            raise NotImplementedError(f"Padding of mode {operation.mode!r}")
        widths = np.asarray(operation.pad_width)
        pads = self.graph.shape([*widths[:, 0], *widths[:, 1]])
        dtype = "int32" if x.dtype == "bool" else x.dtype
        filler = self.graph.constant(np.asarray(constant_values or 0), WIDENED.get(dtype, dtype))
        found = self.graph.add("Pad", [self.value(x, dtype), pads, filler])
        return found if dtype == x.dtype else self.graph.cast(found, "bool")

    def _repeat(self, operation, x, out):
        if operation.axis is None or not isinstance(operation.repeats, int):
            raise NotImplementedError("`repeat` along no axis, or by several numbers")
        order = np.repeat(np.arange(x.shape[operation.axis]), operation.repeats)
        axis = operation.axis
        return self.graph.add("Gather", [self.value(x), self.graph.shape(order)], axis=axis)

    def _tile(self, operation, x, out):
        repeats = operation.repeats
        repeats = [repeats] if isinstance(repeats, int) else list(repeats)
        repeats = [1] * (len(x.shape) - len(repeats)) + repeats
        return self.graph.add("Tile", [self.value(x), self.graph.shape(repeats)])

    def _flip(self, operation, x, out):
        axes = operation.axis
        axes = [axes] if isinstance(axes, int) else list(axes or range(len(x.shape)))
        ends = [
            self.graph.shape(v)
            for v in ([-1] * len(axes), [-(2**31)] * len(axes), axes, [-1] * len(axes))
        ]
        return self.graph.add("Slice", [self.value(x), *ends])

    def _take(self, operation, x, indices, out):
        if operation.axis is None:
            x = self.graph.add("Reshape", [self.value(x), self.graph.shape([-1])])
            return self.graph.add("Gather", [x, self.value(indices)], axis=0)
        table = self.value(x)
        if operation.axis == 0 and table in self.tables:
            return self.tables[table](self.value(indices))
        return self.graph.add("Gather", [table, self.value(indices)], axis=operation.axis)

    def _takealongaxis(self, operation, x, indices, out):
        axis, name = operation.axis % len(x.shape), self.value(indices, "int64")
        shape = [1 if s is None or at == axis else s for at, s in enumerate(x.shape)]
        if any(
            size != other
            for at, (size, other) in enumerate(zip(x.shape, out.shape, strict=True))
            if at != axis
        ) or tuple(indices.shape) != tuple(out.shape):
            name = self.graph.add("Expand", [name, self.graph.shape(shape)])
        return self.graph.add("GatherElements", [self.value(x), name], axis=axis)

    def _topk(self, operation, x, out):
        k = self.graph.shape([operation.k])
        values, at = self.graph.add(
            "TopK", [self.value(x), k], outputs=2, axis=-1, sorted=int(operation.sorted)
        )
        return [values, self.graph.cast(at, "int32")]

    def _searchsorted(self, operation, sequence, values, out):
        """How many numbers of the sequence are below, or not above."""
        kind = "GreaterOrEqual" if operation.side == "right" else "Greater"
        apart = self.graph.add("Unsqueeze", [self.value(values), self.graph.shape([-1])])
        below = self.graph.add(kind, [apart, self.value(sequence, values.dtype)])
        count = self.graph.add(
            "ReduceSum", [self.graph.cast(below, "int32"), self.graph.shape([-1])], keepdims=0
        )
        return self.graph.cast(count, out.dtype)

    def _getitem(self, operation, x, key, out):
        key = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in key:
            at = key.index(Ellipsis)
            rest = len(x.shape) - sum(part is not None for part in key) + 1
            key[at : at + 1] = [slice(None)] * rest
        name, axis, slices, picked, fresh, place = self.value(x), 0, [], [], [], 0
        for part in key:
            if part is None:
                fresh.append(place)
                place += 1
            elif isinstance(part, slice):
                if part != slice(None):
                    slices.append((axis, part))
                axis, place = axis + 1, place + 1
            elif isinstance(part, int | np.integer):
                picked.append((axis, int(part)))
                axis += 1
            else:
                raise NotImplementedError(f"Indexing by {type(part).__name__}")
        if slices:
            far = 2**31 - 1
            steps = [part.step or 1 for _, part in slices]
            starts = [
                (0 if step > 0 else far) if part.start is None else part.start
                for step, (_, part) in zip(steps, slices, strict=True)
            ]
            ends = [
                (far if step > 0 else -far) if part.stop is None else part.stop
                for step, (_, part) in zip(steps, slices, strict=True)
            ]
            axes = [axis for axis, _ in slices]
            lists = [self.graph.shape(values) for values in (starts, ends, axes, steps)]
            name = self.graph.add("Slice", [name, *lists])
        for axis, at in sorted(picked, reverse=True):
            name = self.graph.add("Gather", [name, self.graph.constant(np.asarray(at))], axis=axis)
        if fresh:
            name = self.graph.add("Unsqueeze", [name, self.graph.shape(fresh)])
        return name
