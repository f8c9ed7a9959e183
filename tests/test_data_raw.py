"""The reader of raw files: compressions, malformed rows with file and line, damaged files."""

import bz2
import gzip
import lzma
import zipfile

import polars as pl
import pytest

from keras_ctr.datasets._raw import compression as _compressed
from keras_ctr.datasets._raw.reader import Reader

HEADER = b"a,b,c\n"
ROWS = b"1,x,y\n2,,z\n"
PARSED = [(1.0, "x", "y"), (2.0, None, "z")]


def read(path, content=None, on_bad_rows="error", columns="abc", numbers="a", **how):
    """All rows of a file as tuples, and the number of rows skipped."""
    if content is not None:
        path.write_bytes(content)
    reader = Reader(on_bad_rows)
    frames = list(reader.table(path, list(columns), list(numbers), **how))
    return [row for frame in frames for row in frame.rows()], reader.skipped


@pytest.mark.parametrize("block", [7, 2**25])
@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROWS,
        HEADER + ROWS.rstrip(b"\n"),
        b"\xef\xbb\xbf" + (HEADER + ROWS).replace(b"\n", b"\r\n"),
        HEADER + b"\n" + ROWS + b"\n\n",
        HEADER + b'"1","x","y"\n2,,"z"\n',
    ],
    ids=["plain", "no newline at the end", "BOM and CRLF", "blank lines", "quotes"],
)
def test_line_ends_quotes_and_blank_lines(tmp_path, monkeypatch, content, block):
    monkeypatch.setattr(_compressed, "BLOCK", block)
    assert read(tmp_path / "a.csv", content) == (PARSED, 0)


@pytest.mark.parametrize("block", [11, 2**25])
def test_quoted_separators_newlines_and_quotes(tmp_path, monkeypatch, block):
    monkeypatch.setattr(_compressed, "BLOCK", block)
    content = HEADER + b'1,"x,\n""q""",y\n2,5" nail,w\n3,"a\nb\n\nc",\n'
    expected = [(1.0, 'x,\n"q"', "y"), (2.0, '5" nail', "w"), (3.0, "a\nb\n\nc", None)]
    assert read(tmp_path / "a.csv", content) == (expected, 0)


def test_compressions(tmp_path):
    content = HEADER + ROWS
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", content)
    assert read(tmp_path / "a.csv.zip") == (PARSED, 0)
    for ending, pack in ((".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)):
        assert read(tmp_path / f"a.csv{ending}", pack(content)) == (PARSED, 0)
    pl.read_csv(content).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0] == [(1, "x", "y"), (2, None, "z")]
    assert read(tmp_path / "a.tsv", content.replace(b",", b"\t")) == (PARSED, 0)
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", content)
        archive.writestr("b.csv", content)
    with pytest.raises(ValueError, match="must hold one file. Received: a.csv, b.csv"):
        read(tmp_path / "two.csv.zip")


@pytest.mark.parametrize("block", [9, 2**25])
@pytest.mark.parametrize(
    "row, reason",
    [
        (b"2,z", "must have 3 fields, not 2"),
        (b"2,z,w,v", "must have 3 fields, not 4"),
        (b"2,z,\xff", "no utf-8 text"),
        (b"2,z\0,w", "a NUL byte"),
        (b"two,z,w", "column 'a' must hold numbers, not 'two'"),
        (b'2,"z,w', "quotes that do not match"),
    ],
)
def test_a_malformed_row_is_named_or_skipped_and_counted(
    tmp_path, monkeypatch, caplog, row, reason, block
):
    monkeypatch.setattr(_compressed, "BLOCK", block)
    path = tmp_path / "a.csv"
    content = HEADER + b"1,x,y\n" + row + b"\n3,x,y\n" + row + b"\n4,x,y\n"
    with pytest.raises(ValueError, match=rf"a\.csv, line 3: .*{reason}"):
        read(path, content)
    assert [first for first, *_ in read(path, content, "skip")[0]] == [1, 3, 4]
    assert read(path, content, "skip")[1] == 2
    assert caplog.messages[0].startswith(f"{path}, line 3: ") and len(caplog.messages) == 2


def test_line_numbers_count_quoted_newlines(tmp_path):
    with pytest.raises(ValueError, match="line 4: column 'a'"):
        read(tmp_path / "a.csv", HEADER + b'1,"x\ny",z\ntwo,x,y\n')


def test_columns_must_match_the_header(tmp_path):
    path = tmp_path / "a.csv"
    content = b"c,a,d\ny,1,w\n"
    with pytest.raises(ValueError, match="missing b; not expected d"):
        read(path, content)
    assert read(path, content, extra=True, optional=["b"])[0] == [(1.0, "y")]
    with pytest.raises(ValueError, match="name each column once. Twice: a"):
        read(path, b"a,a,b,c\n", extra=True)


def test_no_header_latin_1_and_quotes_as_text(tmp_path):
    path = tmp_path / "a.item"
    path.write_bytes('1|"caf\xe9|x\n2|b|\n'.encode("latin-1"))
    how = {"separator": "|", "quoted": False, "encoding": "latin-1"}
    (frame,) = Reader().text(path, ["a", "b", "c"], ["a"], **how)
    assert frame.rows() == [(1.0, '"café', "x"), (2.0, "b", None)]


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".zip"])
def test_truncated_and_foreign_files_are_named(tmp_path, ending):
    path = tmp_path / f"a.csv{ending}"
    content = HEADER + b"".join(b"%d,x,y\n" % at for at in range(10_000))
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", content)
        packed = path.read_bytes()
    else:
        pack = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
        packed = pack[ending](content)
    for damaged in (packed[: len(packed) // 2], b"something else entirely"):
        with pytest.raises(ValueError, match=rf"a\.csv\{ending} is truncated or damaged"):
            read(path, damaged)


def test_empty_and_damaged_files(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv must not be empty"):
        read(tmp_path / "a.csv", b"")
    with pytest.raises(ValueError, match=r"a\.csv\.gz must not be empty"):
        read(tmp_path / "a.csv.gz", gzip.compress(b""))
    with pytest.raises(ValueError, match=r"a\.parquet is truncated or damaged"):
        read(tmp_path / "a.parquet", b"PAR1 no")
    with pytest.raises(ValueError, match="`on_bad_rows` must be"):
        Reader("ignore")


def test_progress_adds_up_to_the_size_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_compressed, "BLOCK", 100)
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER + ROWS * 100)
    reader, amounts = Reader(), []
    reader.progress = amounts.append
    list(reader.table(path, ["a", "b", "c"]))
    assert sum(amounts) == path.stat().st_size and len(amounts) > 5
