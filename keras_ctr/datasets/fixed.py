"""`FixedFiles`: a source whose splits are files, as benchmarks publish them."""

import numpy as np

from keras_ctr.datasets.downloading import Download
from keras_ctr.datasets.sources import SPLITS, Source


def archive(repository, **md5):
    """The `Download` of an archive of a RecZoo repository on the hub.

    Args:
        repository: its name there, `"Frappe_x1"`, which is that of the archive.
        **md5: the checksum of each split's file.
    """
    members = {f"{split}.csv": of for split, of in md5.items()}
    return Download("hub", f"reczoo/{repository}/{repository}.zip", members=members)


class FixedFiles(Source):
    """Base of data sets that come as `train.csv`, `valid.csv` and `test.csv` with a header.

    Attributes:
        repository: name of the RecZoo repository on the hub with these files.
        parts: the splits that there are files of.
        further: whether the files have other columns, which are left out.
    """

    resumable = True
    repository = None
    parts = SPLITS
    further = False

    @property
    def folders(self):
        return (self.name, self.repository)

    @property
    def get(self):
        names = ", ".join(f"{split}.csv" for split in self.parts)
        address = f"https://huggingface.co/datasets/reczoo/{self.repository}/resolve/main"
        return f"Download {address}/{self.repository}.zip and unpack it: {names}."

    def files(self, root):
        return [self.find(root, f"{split}.csv") for split in self.parts]

    def frames(self, root, reader):
        for split, path in zip(self.parts, self.files(root), strict=True):
            for frame in self.rows(path, reader):
                yield split, frame

    def rows(self, path, reader):
        """Yields the frames of a file, with the columns of the schema."""
        columns, numbers = self.schema().columns, self.numbers()
        for frame in reader.table(path, columns, numbers, extra=self.further):
            yield self.raw(frame)


class TrainAndTest(FixedFiles):
    """Base of data sets without validation rows: they are drawn from those of `train.csv`.

    Unlike BARS, which validates, and so stops the training, on the test rows.

    Args:
        valid: fraction of the rows of `train.csv` for validation. `"test"`: the test rows once
            more, and all others to train on, as in BARS.
        valid_seed: fixes which.
    """

    parts = ("train", "test")

    def __init__(self, valid=0.1, valid_seed=0):
        is_number = isinstance(valid, int | float) and not isinstance(valid, bool)
        if valid != "test" and not (is_number and 0 <= valid < 1):
            raise ValueError(f"`valid` must lie in [0, 1), or be 'test'. Received: valid={valid!r}")
        self.valid = valid
        self.valid_seed = valid_seed

    @property
    def resumable(self):
        return self.valid != "test"  # where a file is read twice, its name does not tell the place

    @property
    def decided_by(self):
        return (self.schema().label,)

    def frames(self, root, reader):
        is_cut = self.valid not in ("test", 0)
        for split, frame in super().frames(root, reader):
            yield (None if is_cut and split == "train" else split), frame
        if self.valid == "test":
            for frame in self.rows(self.files(root)[1], reader):
                yield "valid", frame

    def split(self, frames):
        rng = np.random.default_rng(self.valid_seed)
        splits = [(rng.random(len(frame)) < self.valid).astype(np.int8) for frame in frames]
        if not any(split.any() for split in splits):
            raise ValueError(
                f"`valid` must be at least one row of train.csv. Received: valid={self.valid!r} of "
                f"{sum(map(len, splits))} rows"
            )
        return splits
