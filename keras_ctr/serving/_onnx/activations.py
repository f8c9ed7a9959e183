"""Activations as nodes of a graph. To be mixed into `Operations`."""

import numpy as np


class Activations:
    """One method per function, by the lower-case name of the class behind it."""

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

    def _celu(self, operation, x, out):
        alpha = float(getattr(operation, "alpha", 1.0))
        return self.graph.add("Celu", [self.value(x, out.dtype)], alpha=alpha)

    def _relu6(self, operation, x, out):
        return self._between(self.value(x, out.dtype), 0.0, 6.0, out)

    def _hardtanh(self, operation, x, out):
        return self._between(self.value(x, out.dtype), -1.0, 1.0, out)

    def _hardsigmoid(self, operation, x, out):
        """`clip(x / 6 + 1/2, 0, 1)`."""
        x = self.graph.add("Div", [self.value(x, out.dtype), self._of(6.0, out)])
        return self._between(self.graph.add("Add", [x, self._of(0.5, out)]), 0.0, 1.0, out)

    def _logsigmoid(self, operation, x, out):
        """`-softplus(-x)`."""
        x = self.graph.add("Neg", [self.value(x, out.dtype)])
        return self.graph.add("Neg", [self.graph.add("Softplus", [x])])

    def _tanhshrink(self, operation, x, out):
        x = self.value(x, out.dtype)
        return self.graph.add("Sub", [x, self.graph.add("Tanh", [x])])

    def _softshrink(self, operation, x, out):
        threshold = float(operation.threshold)
        return self.graph.add("Shrink", [self.value(x, out.dtype)], lambd=threshold, bias=threshold)

    def _hardshrink(self, operation, x, out):
        threshold = float(operation.threshold)
        return self.graph.add("Shrink", [self.value(x, out.dtype)], lambd=threshold, bias=0.0)

    def _squareplus(self, operation, x, out):
        """`(x + sqrt(x² + b)) / 2`."""
        x = self.value(x, out.dtype)
        root = self.graph.add("Add", [self.graph.add("Mul", [x, x]), self._of(operation.b, out)])
        total = self.graph.add("Add", [x, self.graph.add("Sqrt", [root])])
        return self.graph.add("Div", [total, self._of(2.0, out)])

    def _expm1(self, operation, x, out):
        found = self.graph.add("Exp", [self.value(x, out.dtype)])
        return self.graph.add("Sub", [found, self._of(1.0, out)])

    def _log2(self, operation, x, out):
        return self._log_to(x, 2.0, out)

    def _log10(self, operation, x, out):
        return self._log_to(x, 10.0, out)

    def _logaddexp(self, operation, x1, x2, out):
        """The larger one, plus `softplus(-|x1 - x2|)`."""
        x1, x2 = (self.value(x, out.dtype) for x in (x1, x2))
        apart = self.graph.add("Abs", [self.graph.add("Sub", [x1, x2])])
        rest = self.graph.add("Softplus", [self.graph.add("Neg", [apart])])
        return self.graph.add("Add", [self.graph.add("Max", [x1, x2]), rest])

    def _logsoftmax(self, operation, x, out):
        return self.graph.add("LogSoftmax", [self.value(x, out.dtype)], axis=operation.axis)

    def _of(self, value, out):
        return self.graph.constant(np.asarray(value), out.dtype)

    def _between(self, name, low, high, out):
        return self.graph.add("Clip", [name, self._of(low, out), self._of(high, out)])

    def _log_to(self, x, base, out):
        found = self.graph.add("Log", [self.value(x, out.dtype)])
        return self.graph.add("Div", [found, self._of(np.log(base), out)])
