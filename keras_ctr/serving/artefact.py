"""`Artefact`: an exported model as a file, with its card, and how it is checked and run."""

import hashlib
import json
import pathlib

import numpy as np

from keras_ctr.features.batches import check_arrays
from keras_ctr.features.schema import Schema
from keras_ctr.serving._pt2 import read_pt2
from keras_ctr.serving._saved_model import read_saved_model
from keras_ctr.serving.rows import feeds

CARD, EXAMPLES, CHECKSUM = "keras_ctr.card", "keras_ctr.examples", "keras_ctr.checksum"
BESIDE = "assets.extra/keras_ctr.json"  # in the folder of a SavedModel
TRITON = "1/model.onnx"  # in a folder for Triton
UNSIGNED = "0" * 64  # what stands in the place of the checksum while it is computed
CLOSE = 1e-5  # of probabilities on another machine
OUTPUT = "probability"
TOO_LARGE = "Numbers must be small enough for the model, which computes in float32."


class Artefact:
    """A model that `model.export` wrote, to be run by ONNX Runtime, TensorFlow or PyTorch.

    Needs the package that runs it (`onnxruntime`, where it is an `.onnx` file or a folder for
    Triton) and neither Keras nor a backend; nor does any other program that runs it. Opening it
    never runs code of the file's.

    >>> artefact = keras_ctr.serving.Artefact("model.onnx")    # doctest: +SKIP
    >>> artefact.predict([{"user": "u1", "item": "i7"}])       # doctest: +SKIP
    array([[0.0312]], dtype=float32)

    Args:
        path: of the `.onnx` or `.pt2` file, or of the folder for Triton or TensorFlow.
        threads: that one call of ONNX Runtime may use.

    Attributes:
        card: dict: `model`, `schema`, `inputs`, `versions`, `metrics`, `quantize`, …
        examples: dict with `rows`, a list of raw rows, and their `probabilities`. Of a `.pt2` file
            and of a model without an encoder the rows are packed arrays.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it was not written by `export`, or has been changed or cut since.
        ImportError: the package that runs it is missing.
    """

    _schema = None

    def __init__(self, path, threads=1):
        self.path = pathlib.Path(path)
        if self.path.is_dir() and (self.path / TRITON).is_file():
            self.path = self.path / TRITON
        if self.path.is_dir():
            self.card, self.examples = _verified_folder(self.path)
            self._run = read_saved_model(self.path, OUTPUT)
        elif self.path.suffix == ".pt2":
            found, self._run = read_pt2(self.path)
            self.card, self.examples = found["card"], found["examples"]
            self._schema = Schema.from_dict(self.card["schema"])
        else:
            self._open(threads)

    def _open(self, threads):
        """Opens an ONNX file."""
        content = self.path.read_bytes()
        verify(self.path, content)
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        beside = self.path.with_suffix(".data").is_file()  # weights larger than 2 GB
        session = runtime.InferenceSession(
            str(self.path) if beside else content,
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )
        self._run = lambda arrays: session.run([OUTPUT], arrays)[0]
        found = session.get_modelmeta().custom_metadata_map
        self.card, self.examples = json.loads(found[CARD]), json.loads(found[EXAMPLES])
        if "weights" in self.card:
            _verify_weights(self.path.with_suffix(".data"), self.card["weights"])

    @property
    def inputs(self):
        """The columns that it takes, as dicts: `name`, `dtype`, `width`, `holds`, …"""
        return self.card["inputs"]

    def predict(self, rows):
        """Returns click probabilities `(N, 1)`, float32.

        Args:
            rows: a dict (one row), a list of dicts, a dict of columns, or a data frame.

        Raises:
            ValueError: a column that is missing, values of the wrong kind, or too large for
                float32.
        """
        found = self.run(feeds(self.inputs, rows))
        wrong = np.flatnonzero(~np.isfinite(found))
        if len(wrong):
            raise ValueError(f"{TOO_LARGE} Received: such values at row {wrong[0]}")
        return found

    def run(self, arrays):
        """As `predict`, of arrays `(N, width)` by column."""
        if not len(next(iter(arrays.values()))):
            return np.zeros((0, 1), "float32")
        if self._schema is not None:  # no encoder has seen them
            check_arrays(arrays, self._schema)
        return self._run(arrays)

    def check(self):
        """Replays the examples of the file.

        Returns:
            The largest difference from the probabilities that the trained model gave them.

        Raises:
            ValueError: one differs by more than 1e-5 (by 1e-2 where tables are quantized).
        """
        expected = np.asarray(self.examples["probabilities"], "float32").reshape(-1, 1)
        apart = np.abs(self.predict(self.examples["rows"]) - expected)
        most = float(apart.max(initial=0.0))
        limit = CLOSE if self.card["quantize"] is None else 1e-2
        if not most <= limit:
            raise ValueError(
                f"{self.path} must give its examples the probabilities of the trained model. "
                f"Received: {most:.2g} apart in row {int(apart.argmax())}"
            )
        return most


def verify(path, content=None):
    """Raises `ValueError` unless a file is as `export` wrote it, to the last byte."""
    path = pathlib.Path(path)
    content = path.read_bytes() if content is None else content
    key = CHECKSUM.encode()
    at = content.rfind(key)
    start = at + len(key) + 2  # the tag and the length of the next field
    signature = content[start : start + 64]
    if at < 0 or len(signature) < 64:
        raise ValueError(
            f"{path} must be a file that `model.export` wrote, whole. Received: {len(content):,} "
            "bytes without a checksum at their end"
        )
    if signature != _digest(content, start).encode():
        raise ValueError(f"{path} must be as `model.export` wrote it. Received: changed bytes")


def _verify_weights(path, digest):
    if not path.is_file() or file_digest(path) != digest:
        found = "changed bytes" if path.is_file() else "no such file"
        raise ValueError(f"{path} must be as `model.export` wrote it. Received: {found}")


def sign_folder(path, card, examples):
    """Puts the card and the examples into the folder of a SavedModel, with sums of its files."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    sums = {file.relative_to(path).as_posix(): file_digest(file) for file in files}
    found = {"card": card, "examples": examples, "files": sums}
    found["checksum"] = _json_digest(found)
    (path / BESIDE).parent.mkdir(exist_ok=True)
    (path / BESIDE).write_text(json.dumps(found), encoding="utf-8")


def _verified_folder(path):
    """Returns card and examples of a SavedModel, once every file is as it was written."""
    try:
        found = json.loads((path / BESIDE).read_text(encoding="utf-8"))
        checksum = found.pop("checksum")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} must be a folder that `model.export` wrote. Received: {error}"
        ) from error
    wrong = [] if _json_digest(found) == checksum else ["its card"]
    for name, digest in {} if wrong else found["files"].items():
        if not (path / name).is_file() or file_digest(path / name) != digest:
            wrong.append(name)
    if wrong:
        raise ValueError(
            f"{path} must be as `model.export` wrote it. Received: changed {', '.join(wrong)}"
        )
    return found["card"], found["examples"]


def sign(content):
    """Returns the bytes of a model whose last entry is `CHECKSUM: UNSIGNED`, with its checksum."""
    start = content.rfind(CHECKSUM.encode()) + len(CHECKSUM) + 2
    assert content[start : start + 64] == UNSIGNED.encode()
    return content[:start] + _digest(content, start).encode() + content[start + 64 :]


def _digest(content, start):
    found = hashlib.sha256(content[:start])
    found.update(UNSIGNED.encode())
    found.update(content[start + 64 :])
    return found.hexdigest()


def _json_digest(found):
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def file_digest(path):
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "To run an exported model here, ONNX Runtime is needed: `pip install "
            "keras-ctr[serving]`."
        ) from error
    return onnxruntime
