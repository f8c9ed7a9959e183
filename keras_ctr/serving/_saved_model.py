"""An exported graph as a SavedModel: one TensorFlow function per ONNX operator.

The graph is the same that ONNX Runtime runs, so that both formats hold one encoder and one network;
and it can be written from every backend, where TensorFlow is installed. TensorFlow's operators
alone are called, so that TensorFlow Serving needs nothing else.
"""

import functools
import re

import numpy as np

from keras_ctr.serving._graphs import (
    STRING,
    attributes,
    each_of,
    numpy_dtype,
    operation,
    pad_widths,
    run,
    same,
    slices,
)

LARGE = 1024  # numbers, above which a constant is a variable: kept beside the graph


def write_saved_model(made, path, output):
    """Writes an `onnx.ModelProto` whose operators are those of `_onnx`.

    Its signature `serving_default` takes the inputs of the graph, `(rows, width)`, by their names
    as `arguments_of` has them, and returns `{output: (rows, 1)}`.

    Args:
        made: the model.
        path: folder.
        output: name of the output.

    Raises:
        ImportError: TensorFlow is missing.
    """
    from onnx import numpy_helper

    tf = _tensorflow()
    module = tf.Module()
    weights, module.weights = {}, []
    for proto in made.graph.initializer:
        if proto.string_data or proto.data_type == proto.STRING:
            texts = np.array(list(proto.string_data), object)
            weights[proto.name] = texts.reshape(tuple(proto.dims))
            continue
        array = numpy_helper.to_array(proto)
        weights[proto.name] = array
        if array.size > LARGE:
            weights[proto.name] = tf.Variable(array, trainable=False)
            module.weights.append(weights[proto.name])
    steps = [(node, _function(tf, node)) for node in made.graph.node]
    module.lookups = [step.lookup for _, step in steps if isinstance(step, _Lookup)]

    def call(*inputs):
        names = [each.name for each in made.graph.input]
        found = {
            name: tf.constant(each) if isinstance(each, np.ndarray) else tf.convert_to_tensor(each)
            for name, each in {**weights, **dict(zip(names, inputs, strict=True))}.items()
        }
        run(steps, found)
        return {output: found[output]}

    signature, arguments = [], arguments_of([each.name for each in made.graph.input])
    for each in made.graph.input:
        kind = each.type.tensor_type
        dtype = tf.string if kind.elem_type == STRING else tf.as_dtype(numpy_dtype(kind.elem_type))
        width = kind.shape.dim[1].dim_value
        signature.append(tf.TensorSpec((None, width), dtype, arguments[each.name]))
    module.call = tf.function(call, signature, autograph=False)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.call})


def arguments_of(names):
    """`{name of a column: name of the signature's argument}`.

    The same where it is one: a letter, then letters, digits and `_`, ASCII, and not `self`.
    """
    found = {}
    for name in names:
        argument = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not argument[:1].isalpha() or argument == "self":
            argument = f"column_{argument}"
        while argument in found.values() or argument != name and argument in names:
            argument += "_"
        found[name] = argument
    return found


def read_saved_model(path, output):
    """Returns a function of `{input: array}` that runs what `write_saved_model` wrote.

    Raises:
        ImportError: TensorFlow is missing.
    """
    tf = _tensorflow()
    module = tf.saved_model.load(str(path))
    signature = module.signatures["serving_default"]

    def predict(arrays):
        given, arguments = {}, arguments_of(list(arrays))
        for name, array in arrays.items():
            texts = array.dtype == object
            given[arguments[name]] = tf.constant(
                array.tolist() if texts else array, shape=array.shape
            )
        return signature(**given)[output].numpy()

    predict.module = module  # which TensorFlow would let go of
    return predict


def _tensorflow():
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "A SavedModel needs TensorFlow: `pip install keras-ctr[tensorflow]`."
        ) from error
    return tf


def _function(tf, node):
    """What a node does, as a function of its inputs."""
    if node.op_type == "LabelEncoder":
        return _Lookup(tf, attributes(node))
    return operation(node, _operators(tf), "TensorFlow")


class _Lookup:
    """`LabelEncoder`: the number of a text, another for those that are not known."""

    def __init__(self, tf, options):
        keys, values = options["keys_strings"], options["values_int64s"]
        self.lookup = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(keys), tf.string), tf.constant(list(values), tf.int64)
            ),
            options["default_int64"],
        )

    def __call__(self, x):
        return self.lookup.lookup(x)


@functools.cache
def _operators(tf):
    """`{ONNX operator: function of its inputs and attributes}`."""
    nn, strings = tf.nn, tf.strings

    def plain(x):
        """The numbers of a constant, which shapes depend on."""
        return None if x is None else np.asarray(tf.get_static_value(x)).reshape(-1)

    def over(function):
        """A reduction over the axes of a second input."""

        def reduce(x, axes=None, keepdims=1, noop_with_empty_axes=0):
            axes = None if axes is None else plain(axes).tolist()
            return function(x, axis=axes, keepdims=bool(keepdims))

        return reduce

    def cast(x, to):
        if to == STRING:
            return strings.as_string(x)
        dtype = tf.as_dtype(numpy_dtype(to))
        return strings.to_number(x, dtype) if x.dtype == tf.string else tf.cast(x, dtype)

    def clip(x, low=None, high=None):
        x = x if low is None else tf.maximum(x, low)
        return x if high is None else tf.minimum(x, high)

    def gather_elements(x, at, axis=0):
        axis %= len(x.shape)
        if axis == len(x.shape) - 1:
            return tf.gather(x, at, axis=axis, batch_dims=axis)
        return tf.experimental.numpy.take_along_axis(x, at, axis)

    def gather(x, at, axis=0):
        at = tf.where(at < 0, at + tf.shape(x, at.dtype)[axis], at)
        return tf.gather(x, at, axis=axis)

    def pad(x, pads, value=None, axes=None, mode="constant"):
        widths = pad_widths(len(x.shape), plain(pads), plain(axes))
        number = tf.cast(x, tf.uint8) if x.dtype == tf.bool else x
        filled = 0 if value is None else tf.cast(tf.reshape(value, ()), number.dtype)
        return tf.cast(tf.pad(number, widths, constant_values=filled), x.dtype)

    def reshape(x, shape, allowzero=0):
        constant = tf.get_static_value(shape)
        if constant is not None and 0 in constant and not allowzero:  # 0: as it is
            known = tf.shape(x, tf.int64)
            shape = tf.stack([known[at] if n == 0 else n for at, n in enumerate(constant)])
        return tf.reshape(x, shape)

    def cut(x, starts, ends, axes=None, steps=None):
        found = (plain(each) for each in (starts, ends, axes, steps))
        return x[tuple(slices(len(x.shape), *found))]

    def split(x, sizes=None, axis=0, parts=None, num_outputs=None):
        return tf.split(x, parts if sizes is None else plain(sizes).tolist(), axis=axis)

    def top(x, k, axis=-1, largest=1, sorted=1):
        last = len(x.shape) - 1
        order = [at for at in range(last + 1) if at != axis % (last + 1)] + [axis % (last + 1)]
        back = np.argsort(order)
        moved = tf.transpose(x if largest else -x, order)
        values, at = nn.top_k(moved, int(plain(k)[0]))
        values = tf.transpose(values if largest else -values, back)
        return values, tf.cast(tf.transpose(at, back), tf.int64)

    def split_text(x, delimiter="", maxsplit=-1):
        parts = strings.split(tf.reshape(x, [-1]), delimiter or None, maxsplit=maxsplit)
        whole, shape = parts.to_tensor(""), tf.shape(x)
        whole = tf.reshape(whole, tf.concat([shape, [tf.shape(whole)[1]]], 0))
        return whole, tf.reshape(parts.row_lengths(), shape)

    return {
        "Abs": same(tf.abs),
        "Add": same(tf.add),
        "And": same(tf.logical_and),
        "Atan": same(tf.atan),
        "Cast": cast,
        "Ceil": same(tf.math.ceil),
        "Celu": lambda x, alpha=1.0: tf.where(x > 0, x, alpha * tf.math.expm1(x / alpha)),
        "Clip": clip,
        "Concat": lambda *inputs, axis: tf.concat(inputs, axis),
        "Cos": same(tf.cos),
        "Cosh": same(tf.cosh),
        "Div": lambda x, y: tf.divide(x, y) if x.dtype.is_floating else x // y,
        "Einsum": lambda *inputs, equation: tf.einsum(equation, *inputs),
        "Elu": lambda x, alpha=1.0: tf.where(x > 0, x, alpha * tf.math.expm1(x)),
        "Equal": same(tf.equal),
        "Erf": same(tf.math.erf),
        "Exp": same(tf.exp),
        "Expand": lambda x, shape: tf.broadcast_to(
            x, tf.broadcast_dynamic_shape(tf.shape(x, tf.int64), shape)
        ),
        "Floor": same(tf.floor),
        "Gather": gather,
        "GatherElements": gather_elements,
        "Gelu": lambda x, approximate="none": nn.gelu(x, approximate == "tanh"),
        "Greater": same(tf.greater),
        "GreaterOrEqual": same(tf.greater_equal),
        "Identity": same(tf.identity),
        "IsNaN": same(tf.math.is_nan),
        "LeakyRelu": lambda x, alpha=0.01: nn.leaky_relu(x, alpha),
        "Less": same(tf.less),
        "LessOrEqual": same(tf.less_equal),
        "Log": same(tf.math.log),
        "LogSoftmax": lambda x, axis=-1: nn.log_softmax(x, axis),
        "MatMul": same(tf.matmul),
        "Max": each_of(tf.maximum),
        "Min": each_of(tf.minimum),
        "Mod": lambda x, y, fmod=0: tf.math.floormod(x, y),
        "Mul": same(tf.multiply),
        "MurmurHash3": lambda x, positive=1, seed=0: murmur_hash(tf, x, seed),
        "Neg": same(tf.negative),
        "Not": same(tf.logical_not),
        "Or": same(tf.logical_or),
        "Pad": pad,
        "Pow": same(tf.pow),
        "Reciprocal": same(tf.math.reciprocal),
        "ReduceMax": over(tf.reduce_max),
        "ReduceMean": over(tf.reduce_mean),
        "ReduceMin": over(tf.reduce_min),
        "ReduceProd": over(tf.reduce_prod),
        "ReduceSum": over(tf.reduce_sum),
        "RegexFullMatch": lambda x, pattern: strings.regex_full_match(x, pattern),
        "Relu": same(nn.relu),
        "Reshape": reshape,
        "Round": same(tf.round),
        "Selu": lambda x, alpha=None, gamma=None: nn.selu(x),
        "Shape": lambda x: tf.shape(x, tf.int64),
        "Shrink": lambda x, lambd=0.5, bias=0.0: tf.where(
            x > lambd, x - bias, tf.where(x < -lambd, x + bias, tf.zeros_like(x))
        ),
        "Sigmoid": same(tf.sigmoid),
        "Sign": same(tf.sign),
        "Sin": same(tf.sin),
        "Sinh": same(tf.sinh),
        "Slice": cut,
        "Softmax": lambda x, axis=-1: nn.softmax(x, axis=axis),
        "Softplus": same(nn.softplus),
        "Softsign": same(nn.softsign),
        "Split": split,
        "Sqrt": same(tf.sqrt),
        "Squeeze": lambda x, axes=None: tf.squeeze(x, None if axes is None else plain(axes)),
        "StringConcat": lambda x, y: strings.join([x, y]),
        "StringSplit": split_text,
        "Sub": same(tf.subtract),
        "Tan": same(tf.tan),
        "Tanh": same(tf.tanh),
        "Tile": same(tf.tile),
        "TopK": top,
        "Transpose": lambda x, perm: tf.transpose(x, perm),
        "Unsqueeze": lambda x, axes: functools.reduce(
            lambda found, axis: tf.expand_dims(found, int(axis)), sorted(plain(axes)), x
        ),
        "Where": same(tf.where),
        "Xor": same(tf.math.logical_xor),
    }


def murmur_hash(tf, texts, seed=0):
    """MurmurHash3 (x86, 32 bits) of the UTF-8 bytes of texts, as int64 from 0 to 2³² - 1.

    Reference:
        Austin Appleby's MurmurHash3, public domain: constants and rotations.
    """
    right, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    low = tf.constant(2**32 - 1, tf.int64)

    def times(x, factor):  # what is above 64 bits is lost in any case
        return tf.bitwise.bitwise_and(x * factor, low)

    def rotated(x, by):
        by = tf.constant(by, tf.int64)
        left = tf.bitwise.bitwise_and(tf.bitwise.left_shift(x, by), low)
        return tf.bitwise.bitwise_or(left, right(x, 32 - by))

    def mixed(block):
        return times(rotated(times(block, 0xCC9E2D51), 15), 0x1B873593)

    lengths = tf.cast(tf.strings.length(texts), tf.int64)  # of bytes
    blocks = tf.reduce_max(tf.concat([tf.reshape(lengths, [-1]), [0]], 0)) // 4 + 1
    found = tf.io.decode_raw(texts, tf.uint8, fixed_length=tf.cast(4 * blocks, tf.int32))
    shape = tf.concat([tf.shape(texts, tf.int64), [blocks, 4]], 0)
    found = tf.cast(tf.reshape(found, shape), tf.int64)  # filled up with zeros
    words = tf.reduce_sum(found * [1, 2**8, 2**16, 2**24], -1)

    def step(at, h):
        mixture = xor(h, mixed(words[..., at]))
        whole = times(rotated(mixture, 13), 5) + 0xE6546B64
        whole = tf.bitwise.bitwise_and(whole, low)
        done, rest = lengths // 4, lengths % 4
        return at + 1, tf.where(at < done, whole, tf.where((at == done) & (rest > 0), mixture, h))

    start = (tf.constant(0, tf.int64), tf.fill(tf.shape(texts), tf.constant(seed, tf.int64)))
    h = tf.while_loop(lambda at, _: at < blocks, step, start)[1]
    h = xor(h, lengths)
    for by, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = times(xor(h, right(h, tf.constant(by, tf.int64))), factor)
    return h
