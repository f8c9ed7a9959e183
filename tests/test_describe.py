"""`datasets.describe`: known answers, and a page that can be trusted with any text."""

import html.parser
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from keras_ctr import Bag, Categorical, Numeric, Schema, Sequence, Time, cli, datasets
from keras_ctr.datasets import _judging as judging
from keras_ctr.datasets._tally import COUNTS, Tally
from keras_ctr.datasets.describing import Description

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))


def column(found, name):
    return next(entry for entry in found.columns if entry["name"] == name)


def value(entry, name):
    return next(each for each in entry["values"] if each["value"] == name)


def said(found, name):
    return [warning for warning in found.warnings if repr(name) in warning]


def clicks(rows=4000, seed=0):
    """Honest columns of every kind, of which city and price tell a little."""
    rng = np.random.default_rng([seed, 1])  # not the numbers by which rows are held out
    city = rng.choice(["Rome", "Oslo", "Lima"], rows, p=[0.5, 0.3, 0.2])
    price = rng.gamma(3.0, 4.0, rows).round(2)
    rate = 0.15 + 0.3 * (city == "Rome") + 0.2 * (price < 10)
    user = rng.zipf(1.3, rows) % 500
    return pl.DataFrame(
        {
            "city": city,
            "price": price,
            "gap": np.where(rng.random(rows) < 0.25, np.nan, rng.normal(size=rows).round(3)),
            "user": [f"u{at}" for at in user],
            "tags": ["|".join(rng.choice(list("abcdef"), k)) for k in rng.integers(0, 4, rows)],
            "when": [
                f"2024-03-{day:02} {hour:02}:15:00"
                for day, hour in zip(
                    rng.integers(1, 28, rows), rng.integers(0, 24, rows), strict=True
                )
            ],
            "click": (rng.random(rows) < rate).astype(int),
        }
    )


def parts():
    """Train, valid and test by hand."""
    train = {"c": ["a"] * 4 + ["b"] * 3 + ["x", None, None], "y": [1, 1, 1, 0, 0, 0, 1, 0, 0, 1]}
    valid = {"c": ["a", "z", "x", None], "y": [1, 0, 1, 0]}
    test = {"c": ["a", "b", "z", "z", "z"], "y": [0, 0, 0, 1, 1]}
    return (pl.DataFrame(part) for part in (train, valid, test))


def by_hand(**options):
    train, valid, test = parts()
    schema = Schema([Categorical("c", **options)], label="y")
    return datasets.describe(train, valid=valid, test=test, schema=schema)


def test_counts_of_a_small_frame():
    found = by_hand(min_count=2)
    assert found.rows == {"train": 10, "valid": 4, "test": 5}
    assert found.clicks == {"train": 5, "valid": 2, "test": 2}
    assert found.click_rate == 9 / 19
    c = column(found, "c")
    assert c["kind"] == "Categorical" and c["options"] == {"min_count": 2}
    assert c["missing"] == pytest.approx(3 / 19, abs=1e-6)
    assert c["missing_by_split"] == {"train": 0.2, "valid": 0.25, "test": 0.0}
    assert (c["cardinality"], c["exact"], c["vocabulary"]) == (4, True, 2)
    assert c["coverage"] == 7 / 8  # of the values of train, "x" has no id
    assert c["unseen"] == {"valid": pytest.approx(2 / 3, abs=1e-6), "test": 0.6}
    assert [each["value"] for each in c["values"]] == ["a", "b", "z", "x", "(missing)"]
    a = value(c, "a")
    assert (a["rows"], a["train"], a["test"]) == (6, 0.4, 0.2)
    assert a["click_rate"] == pytest.approx(4 / 6, abs=1e-6)
    assert a["share"] == pytest.approx(6 / 19, abs=1e-6)
    assert value(c, "(missing)")["click_rate"] == pytest.approx(1 / 3, abs=1e-6)


def test_vocabulary_is_that_of_the_encoder():
    assert column(by_hand(), "c")["coverage"] == 1.0
    assert column(by_hand(max_size=3), "c")["vocabulary"] == 1  # "a", the most frequent
    assert column(by_hand(max_size=3), "c")["coverage"] == 0.5
    hashed = column(by_hand(hash_size=7), "c")
    assert (hashed["vocabulary"], hashed["unseen"]) == (7, {"valid": 0.0, "test": 0.0})


def test_alone_auc_by_hand():
    # Smoothed click rates of train: a 8/14, x 5/11, missing 6/12; of z that of all rows, 1/2. On
    # valid a and x are clicked, z and missing are not: a is above both, x below.
    assert column(by_hand(min_count=2), "c")["auc"] == 0.5
    train, valid, test = parts()
    valid = valid.with_columns(y=pl.Series([1, 0, 0, 0]))
    schema = Schema([Categorical("c")], label="y")
    found = datasets.describe(train, valid=valid, test=test, schema=schema)
    assert column(found, "c")["auc"] == 1.0
    assert not [text for text in found.warnings if "alone" in text]  # of four rows: chance
    assert judging.auc([1, 2, 2, 3], [0, 1, 0, 1], [1, 0, 1, 0]) == 3.5 / 4
    assert judging.auc([1, 2], [3, 0], [0, 0]) is None


def test_psi_by_hand():
    index, chance = judging.stability([60, 30, 10], [20, 20, 10])
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.4, 0.4, 0.2])
    assert index == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert chance == pytest.approx(2 * (1 / 100 + 1 / 50))
    # No row of test in the last cell: half a row. A cell that is empty in both is none.
    index, _ = judging.stability([50, 50, 0], [100, 0, 0])
    q = np.array([1.0, 0.005])
    assert index == pytest.approx(((q - 0.5) * np.log(q / 0.5)).sum())
    assert judging.stability([1, 2], [0, 0]) == (None, None)


def test_psi_of_names_and_of_quantities():
    train = pl.DataFrame({"c": ["a"] * 600 + ["b"] * 390 + ["r"] * 10, "x": np.arange(1000) + 0.5})
    test = pl.DataFrame({"c": ["a"] * 100 + ["b"] * 60 + ["new"] * 40, "x": [50.0] * 200})
    schema = Schema([Categorical("c"), Numeric("x")], label="y")
    found = datasets.describe(train, valid=0.0, test=test, schema=schema)
    p, q = np.array([0.6, 0.39, 0.01]), np.array([0.5, 0.3, 0.2])  # rare and new ones are one
    psi = ((q - p) * np.log(q / p)).sum()
    assert column(found, "c")["psi"] == pytest.approx(psi, abs=1e-6)
    assert column(found, "c")["drift"] == "high" and "PSI" in said(found, "c")[0]
    x = column(found, "x")
    assert len(x["values"]) == 10 and {each["train"] for each in x["values"]} == {0.1}
    q = np.array([1.0] + [0.0025] * 9)
    assert x["psi"] == pytest.approx(((q - 0.1) * np.log(q / 0.1)).sum(), rel=1e-5)
    assert x["values"][0]["value"] == "to 99.5"


def test_quantile_edges():
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert judging.quantile_edges(x, np.array([1, 1, 1, 1]), 4).tolist() == [0.0, 1.0, 2.0]
    assert judging.quantile_edges(x, np.array([97, 1, 1, 1]), 4).tolist() == [0.0]
    assert judging.quantile_edges(x[:1], np.array([5])).tolist() == []


def test_honest_columns_raise_no_alarm():
    for seed in range(3):
        found = datasets.describe(clicks(seed=seed), label="click")
        texts = [text for text in found.warnings if "dates kept as text" not in text]
        assert texts == []
        assert {entry["drift"] for entry in found.columns} == {"low"}
    aucs = [column(found, name)["auc"] for name in ("city", "price", "gap", "user")]
    assert 0.6 < aucs[0] < 0.75 and 0.53 < aucs[1] < 0.75
    assert 0.4 < aucs[2] < 0.6 and 0.4 < aucs[3] < 0.6
    generated = datasets.describe("synthetic", root=None)
    assert not [text for text in generated.warnings if "alone" in text or "PSI" in text]


def test_leaks_are_found():
    frame = clicks()
    y, rng = frame["click"].to_numpy(), np.random.default_rng(1)
    flipped = np.where(rng.random(len(y)) < 0.01, 1 - y, y)
    frame = frame.with_columns(
        outcome=pl.Series(np.where(flipped == 1, "bought", "left")),
        seconds=pl.Series(np.where(y == 1, 60, 0) + rng.normal(0, 10, len(y))),
        paid=pl.Series(np.where(y == 1, rng.normal(size=len(y)), np.nan)),  # there for clicks alone
    )
    found = datasets.describe(frame, label="click")
    leaks = [text for text in found.warnings if "alone" in text]
    assert len(leaks) == 3 and found.warnings[:3] == leaks  # they come first
    for name in ("outcome", "seconds", "paid"):
        assert column(found, name)["auc"] > 0.98
        assert repr(name) in " ".join(leaks)


def test_drift_of_time(tmp_path):
    frame = clicks().sort("when")
    drifting = frame.with_columns(
        version=pl.Series(["old"] * 3300 + ["new"] * 700), steady=pl.Series(["s", "t"] * 2000)
    )
    drifting.write_csv(tmp_path / "a.csv")
    for data in (drifting, tmp_path / "a.csv"):
        found = datasets.describe(data, label="click", split=Time("when"))
        assert column(found, "version")["drift"] == "high"
        assert column(found, "steady")["drift"] == "low"
        (drifts,) = [text for text in found.warnings if "PSI" in text]
        assert "'version'" in drifts and "'version' (100%)" in found.warnings[-1]
        assert found.rows["test"] >= 400
    grouped = datasets.describe(frame, label="click", group="user", split="group")
    assert column(grouped, "user")["unseen"]["test"] == 1.0


def test_wrong_types():
    rows = np.arange(200)
    frame = pl.DataFrame(
        {
            "amount": [str(at % 50 + 0.5) for at in rows],
            "day": [f"2024-01-{at % 28 + 1:02}" for at in rows],
            "number": rows + 1000,
            "token": [f"t{at}" for at in rows],
            "same": ["s"] * 200,
            "empty": pl.Series([None] * 200, dtype=pl.String),
            "count": [str(at % 7) if at % 20 else "n/a" for at in rows],
            "zip": [f"0{at % 9}" for at in rows],
            "fine": ["a", "b"] * 100,
            "fields": [{"a": 1}] * 200,
            "click": [0, 1, 1, 0] * 50,
        }
    )
    found = datasets.describe(frame, label="click")
    assert "numbers kept as text" in said(found, "amount")[0]
    assert "dates kept as text" in said(found, "day")[0]
    assert "row number" in said(found, "number")[0]
    assert "names rows" in said(found, "token")[0]
    assert "is 's' in every row" in said(found, "same")[0]
    assert "no values" in said(found, "empty")[0] and column(found, "empty")["missing"] == 1.0
    assert "also text such as 'n/a'" in said(found, "count")[0]
    assert (
        "a struct: unnest it" in said(found, "fields")[0]
        and column(found, "fields")["cardinality"] is None
    )
    assert said(found, "zip") == said(found, "fine") == []
    schema = Schema([Categorical("token"), Numeric("count")], label="click")
    found = datasets.describe(frame.with_columns(count="count"), schema=schema)
    assert "names rows" in said(found, "token")[0]
    assert "10 values that are no finite number, the first 'n/a'" in said(found, "count")[0]
    assert column(found, "count")["missing"] == 0.05


def test_infinite_numbers():
    frame = pl.DataFrame({"x": [0.5, float("inf"), 1.5, 2.5] * 25, "click": [0, 1] * 50})
    found = datasets.describe(frame, label="click")
    assert column(found, "x")["kind"] == "Numeric" and column(found, "x")["missing"] == 0.25
    assert "25 values" in said(found, "x")[0]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "tsv"])
def test_a_file_tells_what_its_frame_does(tmp_path, suffix):
    frame, path = clicks(), tmp_path / f"clicks.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    one, other = (datasets.describe(data, label="click") for data in (frame, path))
    assert other.name == path.name and one.rows == other.rows and one.clicks == other.clicks
    for a, b in zip(one.columns, other.columns, strict=True):
        assert a | {"why": b["why"]} == b
    pandas = datasets.describe(pd.DataFrame(frame.to_dict(as_series=False)), label="click")
    assert pandas.columns == one.columns
    train, valid, test = datasets.load(path, label="click")  # the same rows are held out
    assert list(other.rows.values()) == [train.num_rows, valid.num_rows, test.num_rows]
    assert other.clicks["test"] == test.labels.sum()


def test_many_files_and_folders(tmp_path):
    frame = clicks()
    for at, part in enumerate(("train", "valid", "test")):
        frame[at * 1000 : at * 1000 + 1000].write_csv(tmp_path / f"{part}.csv")
    found = datasets.describe(tmp_path, label="click")
    assert found.rows == {"train": 1000, "valid": 1000, "test": 1000}
    by_frames = datasets.describe(
        frame[:1000], label="click", valid=frame[1000:2000], test=frame[2000:3000]
    )
    assert [c["psi"] for c in found.columns] == [c["psi"] for c in by_frames.columns]
    for day in (1, 2):
        (tmp_path / f"logs/day={day}").mkdir(parents=True)
        frame[:500].write_csv(tmp_path / f"logs/day={day}/a.csv")
    found = datasets.describe(str(tmp_path / "logs" / "*" / "*.csv"), label="click")
    assert sum(found.rows.values()) == 1000 and column(found, "day")["cardinality"] == 2


def test_blocks_make_no_difference(monkeypatch, tmp_path):
    frame, path = clicks(), tmp_path / "clicks.csv"
    frame.write_csv(path)
    whole = datasets.describe(path, label="click")
    monkeypatch.setattr("keras_ctr.datasets._raw.compression.BLOCK", 2**14)
    monkeypatch.setattr("keras_ctr.datasets._tally.PILE", 100)
    schema = datasets.load(path, label="click")[0].encoder.given
    blocks = datasets.describe(path, schema=schema)
    for a, b in zip(whole.columns, blocks.columns, strict=True):
        assert a["values"] == b["values"] and a["psi"] == b["psi"] and a["auc"] == b["auc"]


def test_sequences_and_bags():
    frame = pl.DataFrame(
        {
            "item": ["i", "j", "i", "k"],
            "history": [["i", "z"], [], ["k"], None],
            "tags": ["a|b", "a", "", None],
            "y": [1, 0, 1, 0],
        }
    )
    features = [Categorical("item", min_count=2), Sequence("history", of="item", length=2)]
    schema = Schema([*features, Bag("tags")], label="y")
    found = datasets.describe(frame, schema=schema, valid=0, test=0)
    item, history, tags = found.columns
    assert item["coverage"] == 0.75  # i twice, k once here and once in a history
    assert history["missing"] == tags["missing"] == 0.5
    assert history["coverage"] == pytest.approx(2 / 3, abs=1e-6)
    assert value(tags, "a")["rows"] == 2 and value(tags, "a")["click_rate"] == 0.5


def test_prepared_folder(tmp_path):
    frame = clicks()
    frame.write_csv(tmp_path / "clicks.csv")
    folder = datasets.prepare(tmp_path / "clicks.csv", out=tmp_path / "made", label="click")
    raw, found = (
        datasets.describe(tmp_path / "clicks.csv", label="click"),
        datasets.describe(folder),
    )
    assert found.rows == raw.rows and found.clicks == raw.clicks and found.name == "made"
    for name in ("city", "user", "tags"):
        before, after = column(raw, name), column(found, name)
        for fact in ("missing", "coverage", "unseen", "vocabulary"):
            assert after[fact] == pytest.approx(before[fact], abs=1e-5), (name, fact)
    assert value(column(found, "city"), "Rome") == value(column(raw, "city"), "Rome")
    assert column(found, "price")["psi"] == pytest.approx(column(raw, "price")["psi"], abs=0.02)
    assert "when.hour" in [entry["name"] for entry in found.columns]
    assert column(found, "gap.missing")["kind"] == "Numeric"


def test_more_values_than_are_counted():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"user": rng.zipf(1.3, 60_000) % 100_000, "y": rng.integers(0, 2, 60_000)}
    ).cast({"user": pl.String})
    schema = Schema([Categorical("user", min_count=2)], label="y")
    exact = column(datasets.describe(frame, schema=schema), "user")
    about = column(datasets.describe(frame, schema=schema, limit=2000), "user")
    assert exact["exact"] and exact["note"] == ""
    assert not about["exact"] and "More than 2,000 distinct values" in about["note"]
    assert about["cardinality"] == pytest.approx(exact["cardinality"], rel=0.1)
    assert about["coverage"] == pytest.approx(exact["coverage"], abs=0.02)
    assert about["unseen"]["test"] == pytest.approx(exact["unseen"]["test"], abs=0.03)
    assert about["values"][:5] == exact["values"][:5]
    tally = Tally(50)
    for start in range(0, 1000, 100):
        texts = pl.Series([f"{at}" for at in range(start, start + 100)])
        tally.add(texts, np.zeros(100, np.int8), np.ones(100))
    table = tally.table()
    assert len(table) <= 50 and tally.scaled(table)["n0"].sum() == pytest.approx(1000)
    assert set(COUNTS) < set(table.columns)


def test_without_label_and_with_one_class(tmp_path):
    frame = clicks(500)
    found = datasets.describe(frame.drop("click"))
    assert found.click_rate is None and found.clicks == {}
    assert {entry["auc"] for entry in found.columns} == {None}
    assert {each["click_rate"] for entry in found.columns for each in entry["values"]} == {None}
    frame.drop("click").write_csv(tmp_path / "a.csv")
    assert datasets.describe(tmp_path / "a.csv").rows == found.rows
    assert "<svg" in found.to_html(tmp_path / "a.html").read_text()
    one = datasets.describe(frame.with_columns(click=pl.lit(0)), label="click")
    assert one.warnings[0] == "Every label is 0: there is nothing to tell apart."
    assert {entry["auc"] for entry in one.columns} == {None} and one.click_rate == 0.0
    one.to_html(tmp_path / "b.html")


def test_no_held_out_rows():
    found = datasets.describe(clicks(300), label="click", valid=0, test=0)
    assert found.rows == {"train": 300} and column(found, "city")["unseen"] == {}
    assert column(found, "city")["psi"] is None and column(found, "city")["auc"] is None


def test_json_round_trip(tmp_path):
    found = datasets.describe(clicks(500).with_columns(gone=None), label="click")
    again = Description.from_json(found.to_json())
    assert again == found and json.loads(found.to_json())["rows"] == found.rows
    assert again.to_html(tmp_path / "a.html").read_text() == found.to_html(
        tmp_path / "b.html"
    ).read_text(encoding="utf-8")


class Page(html.parser.HTMLParser):
    """Tags of a page: opened ones are closed, and nothing is loaded."""

    VOID = ("meta", "rect", "line", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not [name for name, _ in attributes if name.startswith("on")]
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page_needs_nothing_and_runs_nothing(tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    frame = clicks(500).rename({"city": evil}).with_columns(note=pl.Series([evil, "<b>"] * 250))
    frame = frame.with_columns(pl.Series("a & b", [evil] * 500))
    found = datasets.describe(frame, label="click")
    found.name = evil
    text = found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "b><"} & set(page.tags)
    assert all(link.startswith("#c") for link in page.links)
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert evil in "".join(page.text) and "a & b" in "".join(page.text)
    assert page.tags.count("section") == len(found.columns)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_mistakes_are_named(tmp_path):
    frame = clicks(100)
    with pytest.raises(ValueError, match="Did you mean 'click'"):
        datasets.describe(frame, label="clik")
    with pytest.raises(ValueError, match="0 or 1"):
        datasets.describe(frame, label="price")
    with pytest.raises(ValueError, match="must have rows"):
        datasets.describe(frame[:0], label="click")
    with pytest.raises(ValueError, match="`limit`"):
        datasets.describe(frame, limit=3)
    with pytest.raises(ValueError, match="those of the schema"):
        datasets.describe(frame, label="city", schema=Schema([Categorical("city")], label="click"))
    with pytest.raises(ValueError, match="must have the columns"):
        datasets.describe(frame, label="click", test=frame.drop("city"))
    with pytest.raises(ValueError, match="Did you mean 'criteo_x4'"):
        datasets.describe("criteo_x5")
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.describe(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="group"):
        datasets.describe(frame, label="click", split="group")


def run(*arguments):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_command(tmp_path):
    clicks().with_columns(same=pl.lit("[red]x")).write_csv(tmp_path / "clicks.csv")
    printed = run("describe", tmp_path / "clicks.csv", "--label", "click", "--group", "user")
    assert "city" in printed and "Categorical" in printed and "'[red]x'" in printed
    page = tmp_path / "page.html"
    found = json.loads(
        run("describe", tmp_path / "clicks.csv", "--label", "click", "--html", page, "--json")
    )
    assert found["rows"]["train"] > 3000 and Page(page.read_text())


def test_describe_loads_no_backend(tmp_path):
    made = datasets.synthesize("criteo", 500, path=tmp_path)
    folder = datasets.prepare("criteo_x4", made.path, tmp_path / "out")
    for data, root in (("criteo_x4", ["--root", str(made.path)]), (str(folder), [])):
        arguments = ["keras-ctr", "describe", data, *root, "--html", str(tmp_path / "a.html")]
        code = (
            "import sys\nfrom keras_ctr.cli import main\n"
            f"sys.argv = {arguments!r}\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "print(sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
        )
        assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
        assert "C26" in done.stdout and (tmp_path / "a.html").is_file()


def test_pandas_without_names_of_text():
    frame = pd.DataFrame({0: [1.5, None, 2.5, 3.5] * 30, "click": [0, 1] * 60})
    assert column(datasets.describe(frame, label="click"), "0")["missing"] == 0.25
