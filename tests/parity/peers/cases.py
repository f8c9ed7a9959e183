"""The form of a case: what a peer was given and what it made of it.

`FOLDER/<peer>/<case>.npz` has `inputs/<argument of our layer>`, `weights/<the peer's name>`, and
`output`, which is brought to our form where a peer orders or shapes it otherwise. `cotangent` is
random, and what follows are the derivatives of `sum(output · cotangent)`: `input_gradients/` for
the inputs, `weight_gradients/` for the learned weights.
"""

import pathlib
import sys

import numpy as np

ROWS, FIELDS, STEPS, WIDTH = 8, 5, 6, 4


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

    def events(self):
        """Returns sequences `(ROWS, STEPS, WIDTH)`."""
        return self.normal(ROWS, STEPS, WIDTH)

    def uniform(self, *shape):
        """Returns numbers between 0 and 1."""
        return self.rng.uniform(size=shape).astype("float32")

    def cotangent(self, output):
        """Returns numbers of the shape of `output`, such that derivatives are of the order of 1."""
        return self.normal(*output.shape, scale=0.2)

    def write(self, case, output, cotangent, **groups):
        """Writes one case; `groups` are the dicts of arrays that belong to it."""
        arrays = {"output": output, "cotangent": cotangent}
        for group, named in groups.items():
            arrays |= {f"{group}/{name}": array for name, array in named.items()}
        np.savez(self.folder / f"{case}.npz", **arrays)
