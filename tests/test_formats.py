"""What is exported beside ONNX: SavedModels and `.pt2` files, the same graph in other operators."""

import importlib
import json
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import ops
from test_columns import EVERY, every_frame
from test_serving import FUNCTIONS, strange_rows

from keras_ctr import Bag, Categorical, Numeric, Schema, Sequence, datasets, zoo
from keras_ctr.serving import Artefact, _pt2, _saved_model, feeds
from keras_ctr.serving._onnx import operations

BACKEND = keras.backend.backend()
# The graphs are the same from all backends; every one of them is tested as ONNX in `test_serving`.
# Between them, these models have every operator.
SOME = {
    "tensorflow": ["dcnv2"],
    "jax": ["dcnv2"],
    "torch": ["dcnv2", "mhc", "eulernet", "sim_soft", "rankmixer", "dien"],
}
FORMATS = {"tf_saved_model": SOME[BACKEND], "pt2": SOME[BACKEND]}
pytestmark = pytest.mark.filterwarnings("ignore")  # of tracing, by PyTorch and TensorFlow


@pytest.fixture(scope="module")
def train():
    return datasets.from_pandas(every_frame(200), EVERY, valid=0, test=0, batch_size=100)[0]


def moved(name, train, **options):
    """A model whose weights are not those of its start."""
    model, rng = zoo.get(name, **options).adapt(train), np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1 * rng.normal(size=variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize(
    ("format", "name"), [(format, name) for format, names in FORMATS.items() for name in names]
)
def test_the_predictions_of_the_model(format, name, train, tmp_path):
    model = moved(name, train)
    path = model.export(tmp_path / "model.pt2" if format == "pt2" else tmp_path / "m", format)
    artefact, rows = Artefact(path), strange_rows()
    assert artefact.check() <= 1e-5
    arrays = feeds(artefact.inputs, rows) if format != "pt2" else packed(model, rows)
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(artefact.run(arrays), expected, atol=1e-5)
    one = {key: array[:1] for key, array in arrays.items()}
    np.testing.assert_allclose(artefact.run(one), expected[:1], atol=1e-5)


def packed(model, rows):
    arrays = model.encoder.encode(rows, label=False)
    return {key: arrays[key] for key in model.schema.shapes()}


@pytest.mark.once
@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_quantized(quantize, train, tmp_path):
    model, rows = moved("deepfm", train), strange_rows()
    saved = Artefact(model.export(tmp_path / "m", "tf_saved_model", quantize=quantize))
    program = Artefact(model.export(tmp_path / "m.pt2", quantize=quantize))
    onnx = Artefact(model.export(tmp_path / "m.onnx", quantize=quantize)).predict(rows)
    np.testing.assert_allclose(saved.predict(rows), onnx, atol=1e-6)
    np.testing.assert_allclose(program.run(packed(model, rows)), onnx, atol=1e-6)
    assert np.abs(onnx - model.predict(rows)).max() > 1e-7


@pytest.mark.once
def test_hashes(tmp_path):
    """Every length of text up to several blocks, and letters of several bytes."""
    rng = np.random.default_rng(0)
    texts = ["", "né", "日本語", "a" * 99] + [
        "".join(rng.choice(list("abé日"), length)) for length in rng.integers(1, 14, 300)
    ]
    schema = Schema([Categorical("text", hash_size=1000), Numeric("x")])
    frame = {"text": texts, "x": [0.5] * len(texts), "label": [0, 1] * (len(texts) // 2)}
    train = datasets.from_pandas(frame, schema, valid=0, test=0)[0]
    model = moved("dcnv2", train)
    found = Artefact(model.export(tmp_path / "m", "tf_saved_model")).predict(frame)
    expected = model.predict(frame)
    assert len(np.unique(expected)) > 100
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.once
def test_names_of_columns(tmp_path):
    names = ["a b", "日本", "x:0", "1st", "x/y", "x.y", "x_y", "-", "self", "name", "rows"]
    model, frame = _with_columns(names)
    for format, path in (("tf_saved_model", "m"), ("onnx", "m.onnx"), ("pt2", "m.pt2")):
        artefact = Artefact(model.export(tmp_path / path, format))
        assert artefact.check() <= 1e-5
        if format != "pt2":
            np.testing.assert_allclose(artefact.predict(frame), model.predict(frame), atol=1e-6)


def _with_columns(names):
    frame = {name: ["u", "v", None, "w"] * 5 for name in names} | {"label": [0, 1] * 10}
    schema = Schema([Categorical(name) for name in names])
    model = moved("lr", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    return model, frame


@pytest.mark.once
def test_lists(tmp_path):
    """Empty ones, cut ones, and separators of regular expressions."""
    schema = Schema(
        [
            Categorical("item"),
            Sequence("seen", of="item", length=3, separator="^"),
            Bag("tags", length=2, separator="|"),
            Bag("words", length=4, separator=" "),
        ]
    )
    lists = [[], ["a"], ["a", "b", "c", "a", "b"], None, ["b", "new"]]
    frame = {key: lists * 8 for key in ("seen", "tags", "words")}
    frame |= {"item": list("abcab") * 8, "label": [0, 1] * 20}
    model = moved("din", datasets.from_pandas(frame, schema, valid=0, test=0)[0])
    artefact = Artefact(model.export(tmp_path / "m", "tf_saved_model"))
    np.testing.assert_allclose(artefact.predict(frame), model.predict(frame), atol=1e-6)
    nothing = [{"item": "a", "seen": [], "tags": None, "words": ""}]
    np.testing.assert_allclose(artefact.predict(nothing), model.predict(nothing), atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("format", ["tf_saved_model", "pt2"])
def test_a_process_without_keras(format, train, tmp_path):
    model = moved("din", train)
    path = model.export(tmp_path / "m.pt2" if format == "pt2" else tmp_path / "m", format)
    arrays = packed(model, every_frame(5)) if format == "pt2" else None
    arrays = arrays or feeds(Artefact(path).inputs, every_frame(5))
    (tmp_path / "rows.json").write_text(json.dumps({k: v.tolist() for k, v in arrays.items()}))
    kinds = {k: "int64" if v.dtype == object else str(v.dtype) for k, v in arrays.items()}
    runs = {
        "pt2": "import torch\nrun = torch.export.load(path).module()\n"
        "rows = {k: torch.tensor(v, dtype=getattr(torch, kinds[k])) for k, v in rows.items()}\n"
        "found = run(rows)['probability'].tolist()",
        "tf_saved_model": "import tensorflow as tf\n"
        "run = tf.saved_model.load(path).signatures['serving_default']\n"
        "rows = {k: tf.constant(v, dtype=run.structured_input_signature[1][k].dtype)"
        " for k, v in rows.items()}\n"
        "found = run(**rows)['probability'].numpy().tolist()",
    }
    absent = {"keras", "keras_ctr"} if format == "pt2" else {"keras_ctr"}  # TensorFlow looks for it
    code = (
        "import json, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'keras_ctr':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"path, kinds = {str(path)!r}, {kinds!r}\n"
        f"rows = json.load(open({str(tmp_path / 'rows.json')!r}))\n"
        f"{runs[format]}\nassert not {absent} & set(sys.modules)\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found, model.predict(every_frame(5)), atol=1e-5)


@pytest.mark.once
def test_changes_are_seen(train, tmp_path):
    model = moved("lr", train)
    path = model.export(tmp_path / "m", "tf_saved_model")
    weights = next((path / "variables").glob("*.data*"))
    for file in (path / "saved_model.pb", weights, path / "assets.extra" / "keras_ctr.json"):
        content = file.read_bytes()
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for wrong in (changed, content[:middle], None):
            file.unlink() if wrong is None else file.write_bytes(wrong)
            with pytest.raises(ValueError, match="as `model.export` wrote|that `model.export`"):
                Artefact(path)
        file.write_bytes(content)
    Artefact(path).check()
    path = model.export(tmp_path / "m.pt2")
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        [weight] = [name for name in file.namelist() if name.endswith("weights/weight_0")]
        at = content.find(file.read(weight))
    changed = bytearray(content)
    changed[at + 3] ^= 4
    for wrong in (content[: len(content) // 2], bytes(changed), b""):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"that `model.export` wrote"):
            Artefact(path)


@pytest.mark.once
def test_replaced_whole_and_triton_opened(train, tmp_path):
    first, second = moved("lr", train), moved("dcnv2", train)
    first.export(tmp_path / "m", "tf_saved_model")
    second.export(tmp_path / "m", "tf_saved_model")
    assert Artefact(tmp_path / "m").card["model"] == "DCNV2"
    second.export(tmp_path / "triton")
    assert Artefact(tmp_path / "triton").check() <= 1e-5
    with pytest.raises(ValueError, match="'.pt2'"):
        first.export(tmp_path / "other", "pt2")
    with pytest.raises(ValueError, match="folder that `model.export` wrote"):
        Artefact(tmp_path)


@pytest.mark.once
def test_nothing_else_is_overwritten(train, tmp_path):
    model = moved("lr", train)
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "file.pt2").mkdir()
    (tmp_path / "text").write_text("kept")
    for path, format in (("model", "tf_saved_model"), ("file.pt2", None), ("text", None)):
        with pytest.raises(ValueError, match="`path` must be"):
            model.export(tmp_path / path, format)
    for examples in ([], [{"user": "u"}]):
        with pytest.raises(ValueError, match="`examples` must be rows"):
            model.export(tmp_path / "m", "tf_saved_model", examples=examples)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "file.pt2", "text"}
    assert (tmp_path / "model" / "1").is_dir()


@pytest.mark.once
def test_ids_of_a_program_are_checked(train, tmp_path):
    model = moved("dcnv2", train)
    artefact, arrays = Artefact(model.export(tmp_path / "m.pt2")), packed(model, every_frame(3))
    for wrong in (-1, 10**6):
        with pytest.raises(ValueError, match="ids"):
            artefact.run(arrays | {"ids": np.full_like(arrays["ids"], wrong)})


class Probe(zoo.CTRModel):
    """All functions that no model of the zoo calls, of three copies of four numbers."""

    def call(self, batch, training=None):
        x = batch["values"][:, None] * np.array([[0.5], [1.0], [-2.0]], "float32")
        parts = [ops.sum(ops.tanh(f(x)), axis=(1, 2)) for f in (*FUNCTIONS.values(), *FURTHER)]
        return ops.sigmoid(0.05 * sum(parts))[:, None]


FURTHER = [
    *(ops.cosh, ops.sinh, ops.ceil, ops.round, ops.tan, ops.softsign, ops.softplus, ops.erf),
    *(ops.elu, ops.selu, ops.celu, ops.relu6, ops.hard_shrink, ops.soft_shrink, ops.log_softmax),
    *(ops.hard_sigmoid, ops.log_sigmoid, ops.tanh_shrink, ops.squareplus, ops.arctan, ops.negative),
    lambda x: ops.min(x, axis=1, keepdims=True) + ops.prod(x, axis=1, keepdims=True),
    lambda x: ops.cast(ops.logical_xor(x > 0, x <= 0.5), "float32"),
    lambda x: ops.power(ops.abs(x) + 0.1, 1.5) + ops.gelu(x, approximate=True),
    lambda x: ops.logsumexp(x, axis=1, keepdims=True),
]


@pytest.mark.once
@pytest.mark.parametrize("format", ["onnx", "tf_saved_model", "pt2"])
def test_functions_that_no_model_calls(format, rng, tmp_path):
    model = Probe().adapt(Schema([Numeric(column) for column in "abcd"]))
    batch = {"values": rng.normal(size=(20, 4)).astype("float32")}
    expected = model.predict(batch, batch_size=20, verbose=0)
    path = tmp_path / ("m" if format == "tf_saved_model" else f"m.{format}")
    artefact = Artefact(model.export(path, format))
    np.testing.assert_allclose(artefact.run(batch), expected, atol=1e-5)
    assert expected.std() > 1e-2 and artefact.check() <= 1e-5


@pytest.mark.once
@pytest.mark.parametrize("module", [_saved_model, _pt2])
def test_every_operator_has_a_translation(module):
    """Those that the writers of graphs name; `_pt2` begins behind the encoder."""
    root = importlib.import_module("keras_ctr.serving._onnx").__path__[0]
    named = set()
    for file in ("activations", "columns", "model", "moments", "movement", "network", "operations"):
        if module is _pt2 and file == "columns":
            continue
        source = open(f"{root}/{file}.py").read()
        named |= set(re.findall(r'add\(\s*"([A-Z]\w*)"', source))
    tables = (operations.UNARY, operations.BINARY, operations.COMPARISONS, operations.REDUCTIONS)
    named |= {name for table in tables for name in table.values()}
    library = importlib.import_module("tensorflow" if module is _saved_model else "torch")
    assert named - {"LabelEncoder"} <= set(module._operators(library))
    assert len(named) > 15
