"""A whole model as an ONNX model: raw columns in, probabilities out."""

from keras_ctr.serving._onnx.columns import inputs_of, write_columns
from keras_ctr.serving._onnx.graph import IR_VERSION, OPSET, OPSET_ML, Graph, element_type
from keras_ctr.serving._onnx.network import write_network
from keras_ctr.serving.artefact import OUTPUT


def onnx_model(model, quantize=None, name="keras_ctr", packed=False):
    """Returns an `onnx.ModelProto` of a model.

    Args:
        model: a model of the zoo that is adapted. With its encoder, inputs are the raw columns;
            without, the packed arrays of its schema.
        quantize: see `write_network`.
        name: of the graph.
        packed: whether to leave the encoder out.
    """
    from onnx import helper

    columns = inputs_of(model, packed)
    names = [column["name"] for column in columns]
    if OUTPUT in names:
        raise ValueError(
            f"No column may be called {OUTPUT!r}, as what is exported calls its output: rename it."
        )
    graph = Graph([*names, OUTPUT])
    if packed or model.encoder is None:
        arrays = dict(zip(names, names, strict=True))
    else:
        arrays = write_columns(graph, model.encoder)
    found = write_network(graph, model, arrays, quantize)
    graph.add("Identity", [found], outputs=[OUTPUT])
    used = {name for node in graph.nodes for name in node.input}
    weights = [each for each in graph.initializers if each.name in used]
    outputs = [_tensor(OUTPUT, "float32", 1)]
    inputs = [_tensor(c["name"], c["dtype"], c["width"]) for c in columns]
    made = helper.make_graph(graph.nodes, name, inputs, outputs, initializer=weights)
    domains = {node.domain for node in graph.nodes}
    versions = {"": OPSET, "ai.onnx.ml": OPSET_ML, "com.microsoft": 1}
    opsets = [helper.make_opsetid(d, v) for d, v in versions.items() if d in domains or not d]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)


def _tensor(name, dtype, width):
    from onnx import helper

    return helper.make_tensor_value_info(name, element_type(dtype), ["rows", width])
