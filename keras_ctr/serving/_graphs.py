"""What the readers of an exported graph share: its nodes as steps, whatever library takes them."""

import functools

import numpy as np

STRING = 8  # ONNX's number of texts, which NumPy has no dtype for


def attributes(node):
    """Returns the attributes of a node, texts as `str`."""
    from onnx import helper

    found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {key: x.decode() if isinstance(x, bytes) else x for key, x in found.items()}


def operation(node, table, library):
    """Returns what a node does, as a function of its inputs.

    Args:
        node: of ONNX.
        table: `{operator: function of its inputs and attributes}`.
        library: its name, for messages.

    Raises:
        NotImplementedError: the operator is not in the table.
    """
    if node.op_type not in table:
        raise NotImplementedError(f"{node.op_type} has no translation to {library} here.")
    parts = {"parts": len(node.output)} if node.op_type == "Split" else {}
    return functools.partial(table[node.op_type], **attributes(node), **parts)


def inputs(node, found):
    """Returns the inputs of a node, `None` for one left out."""
    return [found[name] if name else None for name in node.input]


def run(steps, found, given=inputs):
    """Takes all steps in turn.

    Args:
        steps: list of `(node, function of its inputs)`.
        found: dict of tensors by name, which outputs are added to.
        given: function of a node and of `found` that returns its inputs.
    """
    for node, step in steps:
        outputs = step(*given(node, found))
        outputs = [outputs] if len(node.output) == 1 else outputs
        found.update(zip(node.output, outputs, strict=True))


def numpy_dtype(element):
    """Returns the NumPy dtype of ONNX's number of one."""
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(element)


def same(function):
    """An operator whose function takes the same inputs, with the same meaning."""
    return lambda *inputs: function(*inputs)


def each_of(function):
    """An operator of any number of inputs, two at a time."""
    return lambda *inputs: functools.reduce(function, inputs)


def pad_widths(rank, pads, axes):
    """Returns the widths `(rank, 2)` in front and behind, of the inputs of `Pad`."""
    widths = np.zeros((rank, 2), "int64")
    for at, axis in enumerate(range(rank) if axes is None else axes):
        widths[axis] = pads[at], pads[at + len(pads) // 2]
    return widths


def slices(rank, starts, ends, axes, steps):
    """Returns a slice for each axis, of the inputs of `Slice`."""
    places = [slice(None)] * rank
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = None if abs(end) >= 2**31 - 1 else int(end)
        places[int(axis)] = slice(int(start), last, int(step))
    return places
