"""What people's logs hold: every dtype is understood, or refused by name; labels; requests."""

import datetime
import decimal
import uuid
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from keras_ctr import Categorical, Numeric, datasets, zoo
from keras_ctr.features import Encoder, Schema
from keras_ctr.features.frames import as_polars

pytestmark = pytest.mark.once

ROWS = 12
WHOLE = np.arange(ROWS) % 4
REAL = np.arange(ROWS) / 8
TEXT = [f"v{i}" for i in WHOLE]
DAYS = [datetime.date(2024, 1, 1 + i) for i in WHOLE]
MOMENTS = [datetime.datetime(2024, 1, 1, i, 30) for i in WHOLE]
GAP = [None if i == 3 else i for i in WHOLE]

NAMES, QUANTITY, TIME, BAG = "Categorical", "Numeric", "Time", "Bag"
NUMPY = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
PANDAS = {
    **{name: (lambda name=name: pd.Series(WHOLE.astype(name)), NAMES) for name in NUMPY},
    **{
        f"float{bits}": (lambda bits=bits: pd.Series(REAL.astype(f"float{bits}")), QUANTITY)
        for bits in (16, 32, 64)
    },
    "longdouble": (lambda: pd.Series(REAL.astype("longdouble")), QUANTITY),
    "whole floats": (lambda: pd.Series(WHOLE.astype("float64")), NAMES),
    "bool": (lambda: pd.Series(WHOLE > 1), NAMES),
    "str": (lambda: pd.Series(TEXT), NAMES),
    "str with gaps": (lambda: pd.Series([None, *TEXT[1:]]), NAMES),
    "string": (lambda: pd.Series(TEXT, dtype="string"), NAMES),
    "object text": (lambda: pd.Series(TEXT, dtype=object), NAMES),
    "object mixed": (lambda: pd.Series([1, "a", 2] * 4, dtype=object), NAMES),
    "object numbers": (lambda: pd.Series([1, 2.5] * 6, dtype=object), QUANTITY),
    "category": (lambda: pd.Series(pd.Categorical(TEXT)), NAMES),
    "category of numbers": (lambda: pd.Series(pd.Categorical(GAP)), NAMES),
    "cut": (lambda: pd.Series(pd.cut(REAL, 3)), NAMES),
    "interval": (lambda: pd.Series(pd.interval_range(0, ROWS)), NAMES),
    "Int64": (lambda: pd.Series(pd.array(GAP, dtype="Int64")), NAMES),
    "UInt8": (lambda: pd.Series(pd.array(GAP, dtype="UInt8")), NAMES),
    "Float32": (lambda: pd.Series(pd.array(REAL, dtype="Float32")), QUANTITY),
    "boolean": (lambda: pd.Series(pd.array([None, *(WHOLE > 1)[1:]], dtype="boolean")), NAMES),
    "sparse": (lambda: pd.Series(pd.arrays.SparseArray(WHOLE)), NAMES),
    "decimal": (lambda: pd.Series([decimal.Decimal(int(i)) for i in WHOLE]), NAMES),
    "uuid": (lambda: pd.Series([uuid.UUID(int=int(i)) for i in WHOLE]), NAMES),
    "all missing": (lambda: pd.Series([None] * ROWS), "has no values"),
    "datetime64": (lambda: pd.Series(MOMENTS), TIME),
    "datetime64 with zone": (lambda: pd.Series(MOMENTS).dt.tz_localize("UTC"), TIME),
    "date": (lambda: pd.Series(DAYS), TIME),
    "time": (lambda: pd.Series([m.time() for m in MOMENTS]), TIME),
    "period": (lambda: pd.Series(pd.period_range("2024-01-01", periods=ROWS, freq="D")), TIME),
    "dates as text": (lambda: pd.Series([str(day) for day in DAYS]), TIME),
    "moments as text": (lambda: pd.Series([f"{m:%Y-%m-%dT%H:%M:%SZ}" for m in MOMENTS]), TIME),
    "timedelta64": (lambda: pd.Series(pd.to_timedelta(WHOLE, unit="s")), QUANTITY),
    "complex": (lambda: pd.Series(REAL + 1j), "Python objects, such as a complex"),
    "bytes": (lambda: pd.Series([text.encode() for text in TEXT]), "bytes: decode"),
    "dict": (lambda: pd.Series([{"a": 1}] * ROWS), "a struct: unnest"),
    "a class": (lambda: pd.Series([object()] * ROWS), "Python objects, such as a object"),
    "list": (lambda: pd.Series([[1, 2], [3]] * (ROWS // 2)), BAG),
    "list of lists": (lambda: pd.Series([[[1, 2]]] * ROWS), "holds lists of List"),
    "constant": (lambda: pd.Series([7] * ROWS), "it is 7 in every row"),
    "infinite": (lambda: pd.Series(np.where(WHOLE == 3, np.inf, REAL)), "must be finite.*3 rows"),
    "infinite whole": (
        lambda: pd.Series(np.where(WHOLE == 3, -np.inf, WHOLE)),
        "must be finite.*3 rows",
    ),
}
POLARS = {
    **{
        str(dtype): (lambda dtype=dtype: pl.Series(WHOLE.tolist(), dtype=dtype), NAMES)
        for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128)
        + (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    },
    "Float32": (lambda: pl.Series(REAL, dtype=pl.Float32), QUANTITY),
    "Float64": (lambda: pl.Series(REAL), QUANTITY),
    "Decimal": (lambda: pl.Series(WHOLE.tolist(), dtype=pl.Decimal(10, 2)), NAMES),
    "Boolean": (lambda: pl.Series(WHOLE > 1), NAMES),
    "String": (lambda: pl.Series(TEXT), NAMES),
    "Categorical": (lambda: pl.Series(TEXT, dtype=pl.Categorical), NAMES),
    "Enum": (lambda: pl.Series(TEXT, dtype=pl.Enum(sorted(set(TEXT)))), NAMES),
    "Null": (lambda: pl.Series([None] * ROWS), "has no values"),
    "Date": (lambda: pl.Series(DAYS), TIME),
    "Datetime": (lambda: pl.Series(MOMENTS), TIME),
    "Time": (lambda: pl.Series([m.time() for m in MOMENTS]), TIME),
    "Duration": (lambda: pl.Series(WHOLE.tolist(), dtype=pl.Duration("ms")), QUANTITY),
    "Binary": (lambda: pl.Series([text.encode() for text in TEXT]), "bytes: decode"),
    "Struct": (lambda: pl.Series([{"a": 1}] * ROWS), "a struct: unnest"),
    "Object": (lambda: pl.Series([object()] * ROWS, dtype=pl.Object), "such as a object"),
    "List": (lambda: pl.Series([[1, 2], [3]] * (ROWS // 2)), BAG),
    "Array": (lambda: pl.Series([[1, 2]] * ROWS, dtype=pl.Array(pl.Int64, 2)), BAG),
    "Array of floats": (
        lambda: pl.Series([[1.0, 2.0]] * ROWS, dtype=pl.Array(pl.Float64, 2)),
        "Vector",
    ),
}


class Arrow:
    """A table of Arrow and no more than that, whoever has made it."""

    def __init__(self, frame):
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self.frame.__arrow_c_stream__(requested_schema)


def of_pandas(column):
    return pd.DataFrame({"click": [0, 1] * (ROWS // 2), "c": column})


def of_polars(column):
    return pl.DataFrame({"click": [0, 1] * (ROWS // 2), "c": column})


CASES = [
    *(pytest.param(of_pandas, *case, id=f"pandas {name}") for name, case in PANDAS.items()),
    *(pytest.param(of_polars, *case, id=f"polars {name}") for name, case in POLARS.items()),
    *(
        pytest.param(lambda column: Arrow(of_polars(column)), *case, id=f"Arrow {name}")
        for name, case in POLARS.items()
        if name != "Object"  # which Arrow has not
    ),
]


@pytest.mark.parametrize(("frame", "column", "outcome"), CASES)
def test_every_dtype_is_understood_or_refused_by_name(frame, column, outcome):
    frame = frame(column())

    def read():
        schema = Schema.infer(frame, label="click")
        return schema["c"], Encoder(schema).fit(frame).encode(frame)

    if outcome not in (NAMES, QUANTITY, TIME, BAG, "Vector"):
        with pytest.raises(ValueError, match=f"(?s)'c'.*{outcome}"):
            read()
        return
    feature, arrays = read()
    assert type(feature).__name__ == outcome
    values = as_polars(frame)["c"]
    if outcome == QUANTITY:  # by ranks: the order of the values is left
        numbers = values.dt.total_microseconds() if values.dtype == pl.Duration else values
        order = numbers.cast(pl.Float64).arg_sort().to_list()
        assert (np.diff(arrays["values"][order, 0]) >= 0).all()
    elif outcome == NAMES:  # as many ids as there are values, 0 for those that are missing
        assert len(np.unique(arrays["ids"])) == len(set(values.to_list()))
        assert ((arrays["ids"][:, 0] == 0) == values.is_null().to_numpy()).all()
    elif outcome == TIME:
        parts = [array[:, at] for array in arrays.values() for at in range(array.shape[1])]
        assert any(len(np.unique(part)) == len(set(values.to_list())) for part in parts)
    else:
        assert len(arrays["c"]) == ROWS


def test_pandas_columns_of_arrow():
    pa = pytest.importorskip("pyarrow")
    for values, outcome in ((WHOLE, Categorical), (REAL, Numeric), (TEXT, Categorical)):
        column = pd.Series(pa.array(values), dtype=pd.ArrowDtype(pa.array(values).type))
        table = pa.table({"click": [0, 1] * (ROWS // 2), "c": values})
        for frame in (of_pandas(column), table):
            schema = Schema.infer(frame, label="click")
            assert isinstance(schema["c"], outcome)
            assert len(Encoder(schema).fit(frame).encode(frame)["label"]) == ROWS


LABELS = {  # what stands in the column, and what the error tells to write; None: it is understood
    "whole": ([0, 1], None),
    "floats": ([0.0, 1.0], None),
    "bool": ([False, True], None),
    "0 and 1 as text": (["0", "1"], None),
    "TRUE and FALSE": (["TRUE", "FALSE"], None),
    "true and false": (["false", "true"], None),
    "no and yes": (["no", "yes"], r"df\['click'\] = \(df\['click'\] == 'yes'\).astype\(int\)"),
    "yes and no": (["yes", "no"], r"df\['click'\] == 'yes'"),
    "-1 and 1": ([-1, 1], r"df\['click'\] == 1"),
    "1 and 2": ([1, 2], r"df\['click'\] == 2"),
    "clicked and skipped": (["clicked", "skipped"], r"df\['click'\] == 'clicked'"),
    "stars": ([1, 5, 3, 4], r"df\['click'\] > 0"),
    "missing": ([0, 1, None, 1], r"df.dropna\(subset=\['click'\]\)"),
    "missing text": (["0", "1", None, "1"], r"df.dropna\(subset=\['click'\]\)"),
}


@pytest.mark.parametrize("way", ["pandas", "polars", "file"])
@pytest.mark.parametrize("kind", LABELS)
def test_files_and_frames_take_the_same_labels(kind, way, tmp_path):
    values, advice = LABELS[kind]
    frame = pl.DataFrame({"c": TEXT * 4, "click": (values * 48)[: ROWS * 4]}, strict=False)

    def read():
        if way == "file":
            frame.write_csv(tmp_path / "log.csv")
            return datasets.load(tmp_path / "log.csv", label="click", cache=tmp_path / "cache")
        given = pd.DataFrame(frame.to_dict(as_series=False)) if way == "pandas" else frame
        return datasets.from_pandas(given, label="click")

    if advice is None:
        assert {float(v) for part in read() for v in part.labels.reshape(-1)} == {0.0, 1.0}
        return
    with pytest.raises(ValueError, match=f"'click' must be 0 or 1.*{advice}") as error:
        read()
    assert "on_bad_rows" not in str(error.value)


def test_truth_in_a_numeric_column_of_a_file(tmp_path):
    (tmp_path / "log.csv").write_text("flag,click\n" + "TRUE,1\nfalse,0\n1,1\n0,False\n" * 20)
    schema = Schema([Numeric("flag", transform=None)], label="click")
    train, _, _ = datasets.load(tmp_path / "log.csv", schema=schema, cache=tmp_path / "cache")
    [(batch, label)] = [train[0]]
    np.testing.assert_array_equal(batch["values"], label)


@pytest.fixture(scope="module")
def model():
    frame = pd.DataFrame({"c": TEXT * 10, "x": REAL.tolist() * 10, "click": [0, 1] * 60})
    train, _, _ = datasets.from_pandas(frame, label="click")
    model = zoo.get("lr").adapt(train)
    model.compile("adam")
    model.fit(train, verbose=0)
    return model


REQUEST = {"c": ["v1", None, "new"], "x": [1.0, 0.5, None]}


@pytest.mark.parametrize(
    "request_",
    [
        pd.DataFrame(REQUEST),
        pl.DataFrame(REQUEST),
        Arrow(pl.DataFrame(REQUEST)),
        REQUEST,
        {name: tuple(values) for name, values in REQUEST.items()},
        {"c": np.array(REQUEST["c"], object), "x": np.array([1, 0.5, np.nan])},
        {"c": pd.Series(REQUEST["c"]), "x": pl.Series([1.0, 0.5, None])},
        {**REQUEST, "more": [1, 2, 3]},
        [{"c": "v1", "x": 1}, {"c": None, "x": 0.5}, {"c": "new"}],
    ],
    ids="pandas polars Arrow lists tuples arrays series more rows".split(),
)
def test_requests_of_every_form_give_the_same(model, request_):
    expected = model.predict(pd.DataFrame(REQUEST), verbose=0)
    np.testing.assert_array_equal(model.predict(request_, verbose=0), expected)


@pytest.mark.parametrize(
    "nothing",
    [
        pd.DataFrame({"c": [], "x": []}),
        pl.DataFrame({"c": [], "x": []}),
        {"c": [], "x": []},
        {"ids": np.zeros((0, 1), "int32"), "values": np.zeros((0, 1), "float32")},
    ],
    ids="pandas polars lists packed".split(),
)
def test_no_rows(model, nothing):
    found = model.predict(nothing, verbose=0)
    assert found.shape == (0, 1) and found.dtype == np.float32


def test_bad_requests(model):
    for request, message in (
        ({"c": "v1", "x": 1.0}, "Every column of a dict must be a list.*c='v1'"),
        ({"c": ["v1"], "x": [1.0, 2.0]}, "one length.*'c': 1, 'x': 2"),
        ({"c": ["v1"]}, "none called: x"),
        (pd.DataFrame({"c": [], "x": [], "click": []}), None),
    ):
        if message is None:
            with pytest.raises(ValueError, match="Evaluation needs rows"):
                model.evaluate(request)
        else:
            with pytest.raises(ValueError, match=message):
                model.predict(request)


def test_a_frame_with_labels_is_evaluated(model):
    frame = pd.DataFrame({**REQUEST, "click": [1, 0, 1]})
    found = model.evaluate(frame, verbose=0, return_dict=True)
    p = model.predict(frame, verbose=0)[:, 0]
    assert found["logloss"] == pytest.approx(-np.log([p[0], 1 - p[1], p[2]]).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="need their label 'click'"):
        model.evaluate(pd.DataFrame(REQUEST))


def test_a_frame_with_labels_is_trained_on(model):
    frame = pd.DataFrame({**REQUEST, "click": [1, 0, 1]})
    history = model.fit(frame, validation_data=frame, epochs=2, verbose=0).history
    found = model.evaluate(frame, verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(found["loss"], rel=1e-6)
    with pytest.raises(ValueError, match="need their label 'click'"):
        model.fit(pd.DataFrame(REQUEST))
    with pytest.raises(ValueError, match="does not know its columns yet"):
        zoo.get("lr").fit(frame)


def test_one_class_to_validate_on_is_told_once(model):
    x, y = model.encoder.encode(pd.DataFrame(REQUEST)), np.ones((3, 1))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = model.fit(x, 1 - y * [[0], [1], [0]], epochs=3, validation_data=(x, y), verbose=0)
    assert np.isnan(history.history["val_auc"]).all()
    told = [str(w.message)[:20] for w in told if w.category is UserWarning]
    assert told == ["All 3 labels of the "]
    with pytest.warns(UserWarning, match="are 1: metrics .* nan"):
        model.evaluate(x, y, verbose=0)
