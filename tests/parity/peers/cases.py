"""The form of a case: what a peer was given and what it made of it.

`FOLDER/<peer>/<case>.npz` has `input`, `output`, the peer's `weights/<name>` under its own names,
and derivatives of `sum(output · cotangent)`, where `cotangent` is random: `gradient`, of the input,
and `gradients/<name>`, of the learned weights. What a peer orders or shapes otherwise than we do is
brought to our form before `output`, so that all derivatives are of the same thing.
"""

import pathlib
import sys

import numpy as np

ROWS, FIELDS, WIDTH = 8, 5, 4


class Writer:
    """Draws the numbers of one peer's cases and writes them to the folder the command line names.

    Args:
        peer: name of the peer.
    """

    def __init__(self, peer):
        self.folder = pathlib.Path(sys.argv[1], peer)
        self.folder.mkdir(parents=True)
        self.rng = np.random.default_rng(0)

    def normal(self, *shape, scale=0.5):
        """Returns normal numbers of standard deviation `scale`."""
        return self.rng.normal(scale=scale, size=shape).astype("float32")

    def fields(self):
        """Returns field embeddings `(ROWS, FIELDS, WIDTH)`."""
        return self.normal(ROWS, FIELDS, WIDTH)

    def flat(self):
        """Returns flat embeddings `(ROWS, FIELDS · WIDTH)`."""
        return self.normal(ROWS, FIELDS * WIDTH)

    def cotangent(self, output):
        """Returns numbers of the shape of `output`, such that derivatives are of the order of 1."""
        return self.normal(*output.shape, scale=0.2)

    def write(self, case, weights, gradients, **arrays):
        """Writes one case; `weights` and `gradients` are dicts of arrays."""
        for prefix, named in (("weights", weights), ("gradients", gradients)):
            arrays |= {f"{prefix}/{name}": array for name, array in named.items()}
        np.savez(self.folder / f"{case}.npz", **arrays)
