"""What each function of `keras.ops` is in ONNX, by the name of the class behind it."""

import math

import keras
from keras import ops

from keras_ctr.serving._onnx.activations import Activations
from keras_ctr.serving._onnx.graph import WIDENED
from keras_ctr.serving._onnx.movement import Movement

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


def as_numpy(x):
    """Returns the values of a tensor or weight, half precisions as float32."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.convert_to_numpy(ops.cast(x, WIDENED.get(dtype, dtype)))


def axes_of(axis, rank=0):
    """Returns the axes of a function as a list; all of them for `None`."""
    if axis is None:
        return list(range(rank))
    return [axis] if isinstance(axis, int) else list(axis)


class Operations(Activations, Movement):
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
            dtype = "bool" if kind == "LogicalNot" else self._float_of(args[0], out)
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
            x = as_numpy(x)
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
        keep = int(bool(operation.keepdims))
        return self.graph.add(kind, [name, self._axes(x, operation)], keepdims=keep)

    def _axes(self, x, operation):
        return self.graph.shape(axes_of(operation.axis, len(x.shape)))

    def _target(self, out):
        """The shape of an output for `Reshape`: -1 for the number of rows."""
        unknown = [at for at, size in enumerate(out.shape) if size is None]
        if len(unknown) > 1:
            raise NotImplementedError(f"Only the number of rows may be open: {out.shape}")
        return self.graph.shape([-1 if size is None else size for size in out.shape])

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
        return self._of_truths("ReduceMax", operation, x)

    def _all(self, operation, x, out):
        return self._of_truths("ReduceMin", operation, x)

    def _of_truths(self, kind, operation, x):
        numbers = self.graph.cast(self.value(x, "bool"), "int32")
        return self.graph.cast(self._reduced(kind, numbers, x, operation), "bool")

    def _var(self, operation, x, out):
        name = self.value(x, out.dtype)
        mean = self.graph.add("ReduceMean", [name, self._axes(x, operation)], keepdims=1)
        apart = self.graph.add("Sub", [name, mean])
        return self._reduced("ReduceMean", self.graph.add("Mul", [apart, apart]), x, operation)

    def _std(self, operation, x, out):
        return self.graph.add("Sqrt", [self._var(operation, x, out)])

    def _logsumexp(self, operation, x, out):
        name = self.value(x, out.dtype)
        axes = self._axes(x, operation)
        top = self.graph.add("ReduceMax", [name, axes], keepdims=1)
        parts = self.graph.add("Exp", [self.graph.add("Sub", [name, top])])
        total = self.graph.add("Log", [self.graph.add("ReduceSum", [parts, axes], keepdims=1)])
        found = self.graph.add("Add", [total, top])
        return found if operation.keepdims else self.graph.add("Squeeze", [found, axes])

    def _softmax(self, operation, x, out):
        [axis] = axes_of(operation.axis)
        return self.graph.add("Softmax", [self.value(x, out.dtype)], axis=axis)

    def _matmul(self, operation, x1, x2, out):
        return self.graph.add("MatMul", [self.value(x, out.dtype) for x in (x1, x2)])

    _dot = _matmul

    def _einsum(self, operation, *operands, out):
        names = [self.value(x, out.dtype) for x in operands]
        return self.graph.add("Einsum", names, equation=operation.subscripts.replace(" ", ""))

    def _layernorm(self, operation, x, gamma=None, beta=None, out=None):
        """By hand, in float32, over any axes."""
        axes = self._axes(x, operation)
        name = self.value(x, out.dtype)
        if not operation.rms_scaling:
            mean = self.graph.add("ReduceMean", [name, axes], keepdims=1)
            name = self.graph.add("Sub", [name, mean])
        return self._scaled(name, axes, operation.epsilon, gamma, beta, out)

    def _rmsnorm(self, operation, x, scale=None, out=None):
        axes = self._axes(x, operation)
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
