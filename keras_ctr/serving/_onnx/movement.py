"""Functions that move numbers: shapes, slices, joins, look-ups. To be mixed into `Operations`."""

import numpy as np

from keras_ctr.serving._onnx.graph import WIDENED


class Movement:
    """One method per function, by the lower-case name of the class behind it."""

    def _reshape(self, operation, x, out):
        return self.graph.add("Reshape", [self.value(x), self._target(out)])

    def _expanddims(self, operation, x, out):
        return self.graph.add("Unsqueeze", [self.value(x), self._axes(x, operation)])

    _squeeze = _reshape

    def _transpose(self, operation, x, out):
        axes = operation.axes or range(len(x.shape))[::-1]
        return self.graph.add("Transpose", [self.value(x)], perm=list(axes))

    def _swapaxes(self, operation, x, out):
        axes = list(range(len(x.shape)))
        one, other = operation.axis1, operation.axis2
        axes[one], axes[other] = axes[other], axes[one]
        return self.graph.add("Transpose", [self.value(x)], perm=axes)

    def _moveaxis(self, operation, x, out):
        rank = len(x.shape)
        sources, targets = (
            np.atleast_1d(a) % rank for a in (operation.source, operation.destination)
        )
        order = [at for at in range(rank) if at not in sources]
        for target, source in sorted(zip(targets, sources, strict=True)):
            order.insert(target, int(source))
        return self.graph.add("Transpose", [self.value(x)], perm=order)

    def _concatenate(self, operation, xs, out):
        names = [self.value(x, out.dtype) for x in xs]
        return self.graph.add("Concat", names, axis=operation.axis)

    def _stack(self, operation, xs, out):
        axes = self.graph.shape([operation.axis])
        names = [self.graph.add("Unsqueeze", [self.value(x, out.dtype), axes]) for x in xs]
        return self.graph.add("Concat", names, axis=operation.axis)

    def _split(self, operation, x, out):
        sizes = self.graph.shape([part.shape[operation.axis] for part in out])
        return self.graph.add(
            "Split", [self.value(x), sizes], outputs=len(out), axis=operation.axis
        )

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
        return self._fulllike(operation, x, 1, out)

    def _zeroslike(self, operation, x, dtype=None, out=None, **kwargs):
        return self._fulllike(operation, x, 0, out)

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
        if tuple(indices.shape) != tuple(out.shape):
            shape = [1 if s is None or at == axis else s for at, s in enumerate(x.shape)]
            name = self.graph.add("Expand", [name, self.graph.shape(shape)])
        return self.graph.add("GatherElements", [self.value(x), name], axis=axis)

    def _argsort(self, operation, x, out):
        """By `TopK`, which takes the first of equal values first, as a stable sort does."""
        axis = operation.axis % len(x.shape)
        size = self.graph.shape([x.shape[axis]])
        _, at = self.graph.add("TopK", [self.value(x), size], outputs=2, axis=axis, largest=0)
        return self.graph.cast(at, "int32")

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
