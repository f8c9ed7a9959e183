"""`Graph`: nodes and constants of an ONNX graph in the making."""

import numpy as np

OPSET = 20  # StringSplit, StringConcat and RegexFullMatch came with it
OPSET_ML = 4
IR_VERSION = 10
# ONNX Runtime computes in float32 on CPUs, so lower precisions are widened.
WIDENED = {"bfloat16": "float32", "float16": "float32"}


class Graph:
    """What nodes are added to, one after the other.

    Args:
        taken: names of inputs and outputs, which no tensor inside may have.

    Attributes:
        nodes: list of `onnx.NodeProto`.
        initializers: list of `onnx.TensorProto`.
    """

    def __init__(self, taken=()):
        self._taken = set(taken)
        self.nodes, self.initializers = [], []
        self._count = 0
        self._constants = {}  # (dtype, shape, bytes) -> name, of the small ones

    def name(self, stem):
        """Returns a name that is not taken."""
        self._count += 1
        name = f"{stem}_{self._count}"
        return self.name(stem) if name in self._taken else name

    def add(self, kind, inputs, outputs=1, domain="", **attributes):
        """Adds a node.

        Args:
            kind: of operator, such as `"MatMul"`.
            inputs: list of names; an empty one for an optional input left out.
            outputs: how many; or a list of names.
            domain: of the operator.
            **attributes: of the node.

        Returns:
            The name of its output, or a list of them where there are several.
        """
        from onnx import helper

        names = (
            outputs
            if isinstance(outputs, list)
            else [self.name(kind.lower()) for _ in range(outputs)]
        )
        self.nodes.append(
            helper.make_node(
                kind, inputs, names, name=self.name("node"), domain=domain, **attributes
            )
        )
        return names[0] if len(names) == 1 else names

    def constant(self, value, dtype=None, stem="constant"):
        """Returns the name of a constant with the values of an array; equal small ones are one."""
        from onnx import helper, numpy_helper

        array = np.asarray(value)
        if dtype is not None:
            array = array.astype(dtype)
        values = tuple(array.reshape(-1)) if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, values) if array.size <= 4096 else None
        if key in self._constants:
            return self._constants[key]
        name = self.name(stem)
        if array.dtype == object:
            texts = [str(text).encode() for text in array.reshape(-1)]
            proto = helper.make_tensor(name, helper.TensorProto.STRING, array.shape, texts)
        else:
            proto = numpy_helper.from_array(np.asarray(array, order="C"), name)
        self.initializers.append(proto)
        if key is not None:
            self._constants[key] = name
        return name

    def shape(self, values):
        """Returns the name of a constant list of int64."""
        return self.constant(np.asarray(values, "int64").reshape(-1))

    def cast(self, name, dtype):
        """Returns a tensor in another dtype, by NumPy's or Keras's name of it."""
        return self.add("Cast", [name], to=element_type(dtype))


def element_type(dtype):
    """Returns ONNX's number of a dtype, `"string"` among them."""
    from onnx import TensorProto, helper

    dtype = WIDENED.get(dtype, dtype)
    if dtype == "string":
        return TensorProto.STRING
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
