"""What one function of `keras.ops` costs, by its kind and shapes: the convention of `flops`."""

import math

import keras

# Kinds are named after the class behind `keras.ops.<name>`.
MOVEMENT = frozenset(
    """Argsort BroadcastTo Cast Concatenate ConvertToTensor Copy Diag Diagonal ExpandDims Flip
    FullLike GetItem Hstack Moveaxis OneHot OnesLike Pad Ravel Repeat Reshape Roll Scatter
    ScatterUpdate Slice SliceUpdate Split Squeeze Stack StopGradient Swapaxes Take TakeAlongAxis
    Tile Transpose Tril Triu Unstack Vstack ZerosLike""".split()
)
ELEMENTWISE = frozenset(
    """Abs Absolute Add Arctan Arctan2 Ceil Celu Clip Cos Cosh Divide DivideNoNan Elu Equal Erf Exp
    Exp2 Expm1 Floor FloorDivide Gelu Greater GreaterEqual HardShrink HardSigmoid HardSilu HardTanh
    Isfinite Isnan LeakyRelu Less LessEqual Log Log10 Log1p Log2 LogSigmoid Logaddexp LogicalAnd
    LogicalNot LogicalOr LogicalXor Maximum Minimum Mod Multiply Negative NotEqual Power ReLU
    Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Silu Sin Sinh SoftShrink Softplus Softsign
    Sqrt Square Squareplus Subtract Tan Tanh TanhShrink TrueDivide Where""".split()
)
PER_INPUT = {  # FLOPs per element of the first input
    **dict.fromkeys("All Amax Amin Any Argmax Argmin CountNonzero Cumsum Max Mean".split(), 1),
    **dict.fromkeys("Min Prod Sum TopK".split(), 1),
    "BatchNorm": 2,  # its statistics are constants: a multiplication and an addition
    "LayerNorm": 7,  # mean, difference, square, mean, product, scale, offset
    "LogSoftmax": 5,
    "Logsumexp": 4,  # maximum, difference, exp, sum
    "RMSNorm": 4,  # square, mean, product, scale
    "Softmax": 5,  # maximum, difference, exp, sum, quotient
    "Std": 4,
    "Var": 4,  # mean, difference, square, mean
}
PRODUCTS = frozenset(["Dot", "Einsum", "Matmul"])


def cost(operation, inputs, outputs):
    """Returns the FLOPs of one function.

    Args:
        operation: the `keras.Operation` behind it.
        inputs: flat list of its arguments: symbolic tensors and others.
        outputs: flat list of symbolic tensors.

    Raises:
        ValueError: its kind is none of those above.
    """
    kind, size = type(operation).__name__, math.prod(outputs[0].shape)
    if kind not in MOVEMENT | ELEMENTWISE | PER_INPUT.keys() | PRODUCTS:
        raise ValueError(
            "FLOPs can be counted where the cost of every function of `keras.ops` is known. "
            f"Received: {kind}, whose cost is not"
        )
    if kind in MOVEMENT or not keras.backend.is_float_dtype(outputs[0].dtype):
        return 0
    if kind in PER_INPUT:
        return PER_INPUT[kind] * math.prod(inputs[0].shape)
    if kind == "Einsum":
        return _einsum(operation.subscripts, [tuple(operand.shape) for operand in inputs])
    if kind in PRODUCTS:
        return 2 * size * inputs[0].shape[-1]
    starts_a_sum = kind == "Add" and any(isinstance(term, int) and term == 0 for term in inputs)
    return 0 if starts_a_sum else size


def _einsum(subscripts, shapes):
    """The product of the sizes of all indices, once per operand; once less if none is summed."""
    terms, arrow, kept = subscripts.replace(" ", "").partition("->")
    if not arrow:
        kept = [index for index in terms if terms.count(index) == 1]
    sizes = {}
    for term, shape in zip(terms.split(","), shapes, strict=True):
        before, _, after = term.partition("...")
        hidden = range(len(before) + len(after) - len(shape), 0)  # the axes that `...` stands for
        for index, size in zip([*before, *hidden, *after], shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    summed = any(index not in kept for index in sizes if isinstance(index, str))
    return (len(shapes) - 1 + summed) * math.prod(sizes.values())
