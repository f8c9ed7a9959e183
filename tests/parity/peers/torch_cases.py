"""Cases of peers that are layers of PyTorch."""

import torch

torch.set_default_dtype(torch.float64)  # so that what rounding there is is ours


def tensor(array):
    """Returns a tensor, with the default dtype if there are fractions in it."""
    array = torch.as_tensor(array)
    return array.to(torch.get_default_dtype()) if array.is_floating_point() else array


def record(writer, case, module, call=None, fixed=None, **inputs):
    """Gives a module random weights, but for the `fixed` ones; writes what it does with `inputs`.

    `call` takes them by name. Without it, the module takes the only one.
    """
    fixed = fixed or {}
    for name, parameter in module.named_parameters():
        value = fixed.get(name)
        parameter.data = tensor(writer.normal(*parameter.shape)) if value is None else value
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    weights = {name: w.detach().clone().numpy() for name, w in weights.items()}
    inputs = {name: tensor(array) for name, array in inputs.items()}
    floats = {name: x.requires_grad_() for name, x in inputs.items() if x.is_floating_point()}
    learned = {name: w for name, w in module.named_parameters() if name not in fixed}
    output = call(**inputs) if call else module(*inputs.values())
    cotangent = tensor(writer.cotangent(output))
    (output * cotangent).sum().backward()
    writer.write(
        case,
        output.detach().numpy(),
        cotangent.numpy(),
        inputs={name: x.detach().numpy() for name, x in inputs.items()},
        weights=weights,
        input_gradients={name: x.grad.numpy() for name, x in floats.items()},
        # Of no pair, and so without a gradient, is the last field's matrix of "each".
        weight_gradients={
            name: (torch.zeros_like(w) if w.grad is None else w.grad).numpy()
            for name, w in learned.items()
        },
    )
