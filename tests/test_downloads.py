"""Raw files fetched on demand: a server on the loopback address plays the hosts."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import sys
import threading
import zipfile

import polars as pl
import pytest
from typer.testing import CliRunner

from keras_ctr import Categorical, Schema, cli, datasets
from keras_ctr.datasets import Source, downloading
from keras_ctr.datasets.downloading import Download, fetch
from keras_ctr.datasets.fixed import archive

pytestmark = pytest.mark.once
ROOT = pathlib.Path(__file__).parents[1]
COMMIT = "1" * 40


class Server(http.server.BaseHTTPRequestHandler):
    """As much of the hub and of a web server as downloads of files ask for."""

    files = {}  # {path: content}
    requests = []  # (path, the first byte asked for)
    breaks_after = None  # bytes after which a connection ends, once

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        path = self.path.partition("?")[0]
        if path not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, begin = self.files[path], 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and body:
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
        if body:
            self.requests.append((path, begin))
        if begin and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body and Server.breaks_after is not None:
            self.wfile.write(content[begin : begin + Server.breaks_after])
            Server.breaks_after = None
            self.close_connection = True
        elif body:
            self.wfile.write(content[begin:])

    def log_message(self, *given):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(Server, "files", {})
    monkeypatch.setattr(Server, "requests", [])
    monkeypatch.setattr(Server, "breaks_after", None)
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{running.server_port}"
    for host in downloading.HOSTS:
        monkeypatch.setitem(downloading.HOSTS, host, address if host == "hub" else f"{address}/x")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_CTR_DATA", raising=False)
    yield Server
    running.shutdown()
    running.server_close()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def table(rows=30, seed=0):
    labels = [(at + seed) % 3 // 2 for at in range(rows)]
    colours = [["red", "blue", "green"][at % 3] for at in range(rows)]
    return pl.DataFrame({"colour": colours, "label": labels}).write_csv().encode()


CSV = table(3000)


def packed(files, folder=""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(folder + name, content)
    return buffer.getvalue()


class Colours(Source):
    """One file of a web server."""

    name = "colours"
    folders = ("colours",)
    get = "Download colours.csv by hand."
    downloads = (Download("github", "someone/data/colours.csv", md5(CSV), len(CSV)),)

    def schema(self):
        return Schema([Categorical("colour")], label="label")

    def files(self, root):
        return [self.find(root, "colours.csv")]

    def frames(self, root, reader):
        (path,) = self.files(root)
        for frame in reader.table(path, self.schema().columns, ["label"]):
            for split in ("train", "valid", "test"):
                yield split, frame


PARTS = {f"{split}.csv": table(30, seed) for seed, split in enumerate(("train", "valid", "test"))}


class Packed(Colours):
    """Three files of an archive on the hub."""

    name = "packed"
    folders = ("packed",)
    downloads = (archive("Packed", **{name[:-4]: md5(of) for name, of in PARTS.items()}),)

    def files(self, root):
        return [self.find(root, name) for name in PARTS]

    def frames(self, root, reader):
        for path in self.files(root):
            for frame in reader.table(path, self.schema().columns, ["label"]):
                yield path.stem, frame


WEB = "/x/someone/data/colours.csv"
HUB = "/datasets/reczoo/Packed/resolve/main/Packed.zip"


def left(folder):
    """What is in a folder, hidden files too."""
    return sorted(str(at.relative_to(folder)) for at in folder.rglob("*") if at.is_file())


def test_a_file_of_a_web_server(server, tmp_path):
    server.files[WEB] = CSV
    train, valid, test = datasets.load(Colours(), download=True)
    assert train.num_rows == valid.num_rows == test.num_rows == 3000
    assert left(tmp_path / "cache" / "raw") == ["colours/colours.csv"]
    datasets.prepare(Colours(), download=True)
    datasets.prepare(Colours())
    assert server.requests == [(WEB, 0)]


@pytest.mark.parametrize("folder", ["", "Packed/"])
def test_an_archive_of_the_hub_is_unpacked(server, tmp_path, folder):
    pytest.importorskip("huggingface_hub")
    server.files[HUB] = packed({**PARTS, "more.h5": b"not wanted"}, folder)
    splits = datasets.load(Packed(), download=True)
    assert [split.num_rows for split in splits] == [30, 30, 30]
    raw = tmp_path / "cache" / "raw"
    assert left(raw) == [f"packed/{name}" for name in sorted(PARTS)]
    assert {name: (raw / "packed" / name).read_bytes() for name in PARTS} == PARTS


def test_files_go_to_the_root_that_is_given(server, tmp_path):
    server.files[WEB] = CSV
    datasets.prepare(Colours(), tmp_path / "mine", download=True)
    assert left(tmp_path / "mine") == ["colours.csv"]
    assert not (tmp_path / "cache" / "raw").exists()


def test_what_is_there_is_not_fetched(server, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "colours").mkdir(parents=True)
    (home / "colours" / "colours.csv.gz").write_bytes(gzip.compress(CSV))
    monkeypatch.setenv("KERAS_CTR_DATA", str(home))
    assert datasets.load(Colours(), download=True)[0].num_rows == 3000
    assert fetch(datasets.source("synthetic")(), None, tmp_path) is None
    assert server.requests == []


def test_a_download_goes_on_where_it_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "CHUNK", 1000)
    server.files[WEB], server.breaks_after = CSV, 10_000
    with pytest.raises(OSError, match=r"colours.csv of colours .*Try again.*by hand: Download col"):
        fetch(Colours(), None, tmp_path)
    assert left(tmp_path / "raw") == ["colours/.download/colours.csv.part"]
    begun = (tmp_path / "raw/colours/.download/colours.csv.part").stat().st_size
    assert 0 < begun <= 10_000
    folder = fetch(Colours(), None, tmp_path)
    assert server.requests == [(WEB, 0), (WEB, begun)]
    assert left(folder) == ["colours.csv"] and (folder / "colours.csv").read_bytes() == CSV


def test_a_download_of_the_hub_goes_on_where_it_stopped(server, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.files[HUB], server.breaks_after = packed(PARTS), 550
    with contextlib.suppress(OSError):  # newer versions of the client try again by themselves
        fetch(Packed(), None, tmp_path)
    assert left(fetch(Packed(), None, tmp_path)) == sorted(PARTS)
    assert [path for path, _ in server.requests] == [HUB, HUB]
    assert 0 < server.requests[1][1] <= 550


def test_a_part_that_is_whole_is_not_fetched_again(server, tmp_path):
    server.files[WEB] = CSV
    part = tmp_path / "raw/colours/.download/colours.csv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CSV)
    assert (fetch(Colours(), None, tmp_path) / "colours.csv").read_bytes() == CSV
    assert server.requests == [(WEB, len(CSV))]


def test_a_wrong_checksum_names_file_expected_and_found(server, tmp_path):
    server.files[WEB] = wrong = CSV.replace(b"red", b"RED")
    expected = f"colours.csv.*expected md5:{md5(CSV)} but got {md5(wrong)}"
    with pytest.raises(ValueError, match=expected):
        fetch(Colours(), None, tmp_path)
    assert left(tmp_path / "raw") == []
    server.files[WEB] = CSV
    assert left(fetch(Colours(), None, tmp_path)) == ["colours.csv"]


def test_a_wrong_checksum_in_an_archive(server, tmp_path):
    pytest.importorskip("huggingface_hub")
    wrong = PARTS["valid.csv"] + b"red,1\n"
    server.files[HUB] = packed(PARTS | {"valid.csv": wrong})
    expected = f"valid.csv must .* md5 sum {md5(PARTS['valid.csv'])}. Received: {md5(wrong)}"
    with pytest.raises(ValueError, match=expected):
        fetch(Packed(), None, tmp_path)
    assert [at for at in left(tmp_path / "raw/packed") if not at.startswith(".")] == ["train.csv"]
    assert not [at for at in left(tmp_path / "raw") if at.endswith((".zip", ".part"))]
    server.files[HUB] = packed(PARTS)
    assert left(fetch(Packed(), None, tmp_path)) == sorted(PARTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(PARTS)[:-40], "Packed.zip must be a whole archive"),  # no list of files
        (packed(PARTS).replace(b"green", b"GREEN"), "Packed.zip must be a whole archive.*CRC"),
        (packed({"train.csv": PARTS["train.csv"]}), "must hold train.csv, valid.csv, test.csv"),
    ],
)
def test_an_archive_that_is_wrong(server, tmp_path, content, message):
    pytest.importorskip("huggingface_hub")
    server.files[HUB] = content
    with pytest.raises(ValueError, match=message):
        fetch(Packed(), None, tmp_path)
    assert not [at for at in left(tmp_path / "raw/packed") if not at.startswith(".")]


@pytest.mark.parametrize("source", [Colours, Packed])
def test_a_file_that_the_server_has_not(server, tmp_path, source):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(OSError, match="could not be downloaded: .*404.*by hand: Download col"):
        fetch(source(), None, tmp_path)
    assert not [at for at in left(tmp_path / "raw") if not at.split("/")[1].startswith(".")]


@pytest.mark.parametrize("source", [Colours, Packed])
def test_without_a_network_the_manual_steps_are_told(tmp_path, monkeypatch, source):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the hub's tries
    for host in downloading.HOSTS:
        monkeypatch.setitem(downloading.HOSTS, host, "http://127.0.0.1:9")  # nobody is there
    with pytest.raises(OSError, match="could not be downloaded: .*by hand: Download colours.csv"):
        fetch(source(), None, tmp_path)


@pytest.mark.parametrize(("source", "extra"), [(Colours, "data"), (Packed, "hub")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, source, extra):
    for name in downloading.EXTRAS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"keras-ctr\[{extra}\].*by hand: Download"):
        fetch(source(), None, tmp_path)


def test_what_cannot_be_downloaded(tmp_path):
    with pytest.raises(ValueError, match="criteo_x1 cannot be downloaded.*Criteo's terms.*https:"):
        datasets.load("criteo_x1", download=True, cache=tmp_path)
    with pytest.raises(ValueError, match="`download` must be False, but for a known data set"):
        datasets.load(ROOT / "datasets/frappe_x1/sample.csv", label="label", download=True)


KNOWN = [name for name in datasets.names() if name != "synthetic"]


@pytest.mark.parametrize("name", KNOWN)
def test_every_data_set_says_what_may_be_fetched(name):
    source = datasets.source(name)()
    page = (ROOT / "datasets" / name / "README.md").read_text()
    assert not (source.downloads and source.forbids)
    assert "download=True" in page and ("does not fetch" in page) == (not source.downloads)
    for download in source.downloads:
        assert download.host in downloading.HOSTS
        sums = [download.md5, *download.files.values()]
        assert any(sums) and all(len(of) == 32 and of in page for of in sums if of)
        assert download.host == "hub" or download.md5
        assert download.size is None or f"{download.size:,}" in page
    given = {file for download in source.downloads for file in download.files}
    folder = ROOT / "nowhere"
    with pytest.raises(FileNotFoundError) as error:
        source.files(folder)
    assert not given or any(f"the file {file} " in str(error.value) for file in given)


@pytest.mark.parametrize("name", [n for n in KNOWN if not datasets.source(n)().downloads])
def test_terms_that_forbid_it_are_told_with_the_manual_steps(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} cannot be downloaded for you: .* Download .*htt"):
        datasets.prepare(name, cache=tmp_path, download=True)


def test_a_known_data_set_from_end_to_end(server, tmp_path, monkeypatch):
    """MovieLens, generated rows, through the command line."""
    folder = ROOT / "datasets" / "movielens_1m"
    samples = {"ratings.dat": "sample.csv", "users.dat": "sample.user", "movies.dat": "sample.item"}
    zipped = packed({n: (folder / of).read_bytes() for n, of in samples.items()}, "ml-1m/")
    kind = datasets.source("movielens_1m")
    (given,) = kind.downloads
    changed = Download(given.host, given.path, md5(zipped), members=given.members)
    monkeypatch.setattr(kind, "downloads", (changed,))
    server.files["/x/ml-1m.zip"] = zipped
    run = functools.partial(CliRunner().invoke, cli.app, catch_exceptions=False)
    done = run(["prepare", "movielens_1m", "--download", "--json"])
    assert done.exit_code == 0, done.output
    splits = datasets.load(json.loads(done.stdout)["folder"])
    assert sum(split.num_rows for split in splits) == 60
    assert left(tmp_path / "cache" / "raw") == [f"movielens_1m/{name}" for name in sorted(samples)]
