"""`export`: a trained model as a file that takes raw rows."""

import contextlib
import importlib.metadata
import json
import pathlib
import shutil
import tempfile

import keras
import numpy as np

from keras_ctr._checks import require_choice
from keras_ctr._version import __version__
from keras_ctr.features.frames import as_polars
from keras_ctr.serving._onnx.columns import inputs_of
from keras_ctr.serving._onnx.graph import OPSET
from keras_ctr.serving._onnx.model import onnx_model
from keras_ctr.serving._pt2 import write_pt2
from keras_ctr.serving._saved_model import arguments_of, write_saved_model
from keras_ctr.serving.artefact import (
    BESIDE,
    CARD,
    CHECKSUM,
    EXAMPLES,
    OUTPUT,
    UNSIGNED,
    file_digest,
    sign,
    sign_folder,
)
from keras_ctr.serving.examples import made_rows

FORMATS = ("onnx", "triton", "tf_saved_model", "pt2")
QUANTIZED = (None, "float16", "int8")
MOST_BYTES = 2**31 - 2**20  # of one file of protocol buffers


def export(model, path, format=None, quantize=None, examples=None, metrics=None):
    """Writes a trained model as an artefact that needs neither this package nor Keras to run.

    The graph is written by a walk through the model's `keras.ops` calls, a node or a few for each,
    in float32; so it is the same from every backend, and no converter takes part. It holds the
    encoder as well: inputs are the raw columns by their names, tensors `(rows, 1)` of any number of
    rows, text as it stands in a file (missing: empty), numbers as float64 (missing: NaN), lists
    as one text with the column's separator, moments as numbers in their unit; `Vector`s are
    `(rows, width)`. The output is `probability`, `(rows, 1)` float32. A model without an encoder
    takes the packed arrays of its schema. ONNX opset 20, `ai.onnx.ml` 4; a column with `hash_size`
    needs `com.microsoft.MurmurHash3`, which ONNX Runtime has. A graph cannot refuse a value as the
    encoder does: an id that is out of range is unseen there.

    A SavedModel is the same graph in TensorFlow's operators, of the same inputs, for TensorFlow
    Serving; what is no name of an argument there is changed, see the card's `inputs`. A `.pt2` file
    is its part behind the encoder in PyTorch's, since PyTorch has no text:
    `torch.export.load(path).module()` takes a dict of packed arrays. Both can be written from every
    backend, where TensorFlow or PyTorch is installed.

    Each also holds a card, some rows with their probabilities, and (but for `.pt2`, an archive with
    those of its own) a checksum: see `serving.Artefact`.

    Args:
        model: an adapted `CTRModel`.
        path: of the file, ending in `.onnx` or `.pt2`, or of the folder for the others. Weights
            larger than 2 GB are written beside an `.onnx` file, to `….data`.
        format: `"onnx"`; `"pt2"`; `"tf_saved_model"`, as Keras calls it; or `"triton"`: a model
            folder of NVIDIA's server, `config.pbtxt` and `1/model.onnx`. By default what `path`
            ends in, else `"triton"`.
        quantize: how embedding tables are kept: `None` as float32, `"float16"`, or `"int8"` with
            a scale for each row; all else stays float32.
        examples: raw rows to keep in the file instead of ones made of what the encoder has learnt:
            a list of dicts, or a data frame.
        metrics: dict of metrics for the card, such as `model.evaluate(test, return_dict=True)`.

    Returns:
        The path of the ONNX or `.pt2` file, or of the folder of the SavedModel.

    Raises:
        ValueError: a model that is not adapted, another format.
        NotImplementedError: the model calls a function that has no translation to ONNX here.
        ImportError: the package `onnx` is missing, or the one that the format is of.
    """
    path = pathlib.Path(path)
    path = path if path.name else path.resolve()  # "."
    format = format or {".onnx": "onnx", ".pt2": "pt2"}.get(path.suffix, "triton")
    require_choice(FORMATS, format=format)
    require_choice(QUANTIZED, quantize=quantize)
    if getattr(model, "schema", None) is None:
        raise ValueError(
            "Only a model that knows its columns can be exported: call "
            "`model.adapt(dataset_or_schema)` first."
        )
    _require_onnx()
    _require_place(path, format)
    model.settle()
    if format in ("onnx", "pt2") and path.suffix != f".{format}":
        raise ValueError(f"`path` must end in '.{format}'. Received: path={str(path)!r}")
    if format == "onnx":
        return _write(model, path, quantize, examples, metrics)
    if format == "tf_saved_model":
        return _write_saved_model(model, path, quantize, examples, metrics)
    if format == "pt2":
        return _write_pt2(model, path, quantize, examples, metrics)
    file = _write(model, path / "1" / "model.onnx", quantize, examples, metrics)
    (path / "config.pbtxt").write_text(_triton(path.name, inputs_of(model)), encoding="utf-8")
    return file


def _write(model, path, quantize, examples, metrics):
    """Writes the ONNX file with its card."""
    import onnx

    made = onnx_model(model, quantize, name=model.name)
    made.producer_name, made.producer_version = "keras_ctr", __version__
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".data")
    beside.unlink(missing_ok=True)
    card = _card(model, quantize, metrics)
    if made.ByteSize() > MOST_BYTES:
        onnx.save(made, path, save_as_external_data=True, location=beside.name)
        made = onnx.load(path, load_external_data=False)
        card["weights"] = file_digest(beside)
    entries = {CARD: card, EXAMPLES: _examples(model, examples)}
    for key, value in entries.items():
        made.metadata_props.add(key=key, value=json.dumps(value))
    made.metadata_props.add(key=CHECKSUM, value=UNSIGNED)
    content = sign(made.SerializeToString())
    with _beside(path) as folder:
        (folder / path.name).write_bytes(content)
        (folder / path.name).replace(path)
    return path


def _write_saved_model(model, path, quantize, examples, metrics):
    """Writes the folder of a SavedModel; what it replaces stays until it is whole."""
    made = onnx_model(model, quantize, name=model.name)
    card = _card(model, quantize, metrics)
    arguments = arguments_of([column["name"] for column in card["inputs"]])
    card["inputs"] = [column | {"argument": arguments[column["name"]]} for column in card["inputs"]]
    with _beside(path) as folder:
        write_saved_model(made, folder / path.name, OUTPUT)
        sign_folder(folder / path.name, card, _examples(model, examples))
        if path.exists():
            shutil.rmtree(path)
        (folder / path.name).replace(path)
    return path


def _write_pt2(model, path, quantize, examples, metrics):
    made = onnx_model(model, quantize, name=model.name, packed=True)
    found = _examples(model, examples)
    rows = found["rows"]
    if model.encoder is not None:
        rows = model.encoder.encode(rows, label=False)
    shapes = model.schema.shapes()
    arrays = {key: np.asarray(rows[key], dtype) for key, (_, dtype) in shapes.items()}
    found["rows"] = {key: array.tolist() for key, array in arrays.items()}
    several = {key: np.concatenate([array, array])[:8] for key, array in arrays.items()}
    card = _card(model, quantize, metrics) | {"inputs": inputs_of(model, packed=True)}
    with _beside(path) as folder:
        write_pt2(made, folder / path.name, OUTPUT, several, {"card": card, "examples": found})
        (folder / path.name).replace(path)
    return path


def _require_place(path, format):
    """Raises `ValueError` unless something can be written there without the loss of another."""
    if format in ("onnx", "pt2"):
        if path.is_dir():
            raise ValueError(f"`path` must be that of a file. Received a folder: {path}")
        return
    if path.is_file():
        raise ValueError(f"`path` must be that of a folder. Received a file: {path}")
    mine = not path.exists() or (path / BESIDE).is_file() or not any(path.iterdir())
    if format == "tf_saved_model" and not mine:
        raise ValueError(
            "`path` must be a new or empty folder, or one that `export` wrote. Received one that "
            f"holds something else: {path}"
        )


@contextlib.contextmanager
def _beside(path):
    """A folder for what is not finished, on the same disk; it goes whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        yield pathlib.Path(folder)


def _card(model, quantize, metrics):
    config = model.get_config()
    names = ("keras", "onnx", "numpy", keras.backend.backend())
    return {
        "model": type(model).__name__,
        "name": model.name,
        "arguments": {
            key: value for key, value in config.items() if _is_plain(value) and key != "name"
        },
        "parameters": model.count_params(),
        "schema": model.schema.to_dict(),
        "inputs": inputs_of(model),
        "output": OUTPUT,
        "opset": OPSET,
        "quantize": quantize,
        "calibration": config.get("recalibration"),
        "metrics": {key: float(value) for key, value in (metrics or {}).items()},
        "versions": {"keras_ctr": __version__} | {name: _version(name) for name in names},
        "backend": keras.backend.backend(),
    }


def _is_plain(value):
    return value is None or isinstance(value, str | int | float | bool)


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # another build of it
        return getattr(__import__(name), "__version__", "")


def _examples(model, rows):
    """Raw rows, and what the trained model gives them."""
    if model.encoder is None:
        from keras_ctr.testing import example_batch

        batch = example_batch(model.schema, rows=8)[0]
        found = model.predict(batch, verbose=0)
        rows = {key: array.tolist() for key, array in batch.items()}
        return {"rows": rows, "probabilities": np.ravel(found).tolist()}
    if rows is None:
        rows = made_rows(model.encoder)
    elif not isinstance(rows, list):
        rows = as_polars(rows).to_dicts()
    names = [column["name"] for column in inputs_of(model)]
    missing = [name for name in names if not all(name in row for row in rows)]
    if missing or not rows:
        raise ValueError(
            "`examples` must be rows with every column of the model. Received: "
            + (f"none with {', '.join(missing)}" if missing else "no rows")
        )
    rows = [{name: _json(row[name]) for name in names} for row in rows]
    found = model.predict(rows, verbose=0)
    return {"rows": rows, "probabilities": np.ravel(found).tolist()}


def _json(value):
    """A raw value as JSON has it: NaN as null, moments as text."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def _triton(name, columns):
    """The configuration of a model of the Triton server."""
    kinds = {"string": "TYPE_STRING", "float64": "TYPE_FP64", "float32": "TYPE_FP32"}
    kinds["int32"] = "TYPE_INT32"
    inputs = ",\n".join(
        f"  {{ name: {json.dumps(each['name'], ensure_ascii=False)}, "
        f"data_type: {kinds[each['dtype']]}, dims: [ {each['width']} ] }}"
        for each in columns
    )
    return (
        f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 4096\n'
        f"input [\n{inputs}\n]\n"
        f'output [\n  {{ name: "{OUTPUT}", data_type: TYPE_FP32, dims: [ 1 ] }}\n]\n'
        "dynamic_batching { }\n"
    )


def _require_onnx():
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "`export` needs the package onnx: `pip install keras-ctr[serving]`."
        ) from error
