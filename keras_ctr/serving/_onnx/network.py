"""A trained network as nodes of a graph: from packed arrays to probabilities."""

import numpy as np
from keras import ops

from keras_ctr.measure.walk import Visitor, walk
from keras_ctr.serving._onnx.operations import Operations, as_numpy

LEVELS = 127  # of int8, on either side of zero


def write_network(graph, model, arrays, quantize=None):
    """Adds a model's call to a graph.

    Args:
        graph: `Graph`.
        model: an adapted model of the zoo.
        arrays: `{batch key: name in the graph}`.
        quantize: how rows of embedding tables are kept: `None` as float32, `"float16"`, or
            `"int8"`, each row with a scale of its own.

    Returns:
        The name of the probabilities.
    """
    tables = [layer.table for layer in model.embeddings if hasattr(layer, "table")]
    writer = _Writer(graph, arrays, quantize, tables if quantize else [])
    _, output = walk(model, writer, None)
    return writer.operations.value(output, "float32")


class _Writer(Visitor):
    def __init__(self, graph, arrays, quantize, tables):
        self.graph = graph
        self.arrays = arrays
        self.quantize = quantize
        self.quantized = set(map(id, tables))
        self.operations = Operations(graph)

    def start(self, batch):
        for key, tensor in batch.items():
            self.operations.bind(tensor, self.arrays[key])

    def weight(self, tensor, variable):
        values = as_numpy(variable)
        if id(variable) in self.quantized:
            name = self.graph.name("table")
            self.operations.tables[name] = self._quantized(values)
        else:
            name = self.graph.constant(values, stem=variable.path.replace("/", "."))
        self.operations.bind(tensor, name)

    def operation(self, operation, args, kwargs, outputs):
        self.operations.write(operation, args, kwargs, outputs)

    def scan(self, length, step, state, inputs):
        """Written out, step by step."""
        outputs = []
        for at in range(length):
            state, output = step(state, inputs[at])
            outputs.append(output)
        return state, ops.stack(outputs)

    def _quantized(self, values):
        """Returns a function from the name of row numbers to that of their rows, float32."""
        add, constant = self.graph.add, self.graph.constant
        if self.quantize == "float16":
            table = constant(values.astype("float16"), stem="table_float16")
            return lambda ids: self.graph.cast(add("Gather", [table, ids], axis=0), "float32")
        scale = np.abs(values).max(axis=1, keepdims=True) / LEVELS
        whole = np.rint(values / np.where(scale > 0, scale, 1.0)).astype("int8")
        table = constant(whole, stem="table_int8")
        scales = constant(scale.astype("float32"), stem="table_scales")

        def rows(ids):
            found = self.graph.cast(add("Gather", [table, ids], axis=0), "float32")
            return add("Mul", [found, add("Gather", [scales, ids], axis=0)])

        return rows
