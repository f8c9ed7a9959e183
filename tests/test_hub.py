"""Models on the Hugging Face Hub: a server on the loopback address plays it."""

import base64
import http.server
import importlib
import json
import pathlib
import sys
import threading

import keras
import numpy as np
import pytest
from test_columns import EVERY, every_frame
from typer.testing import CliRunner

from keras_ctr import datasets, testing, zoo
from keras_ctr.cli import app

huggingface_hub = pytest.importorskip("huggingface_hub")
SAVED = pathlib.Path(__file__).parent / "saved"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as uploads and downloads of small files ask for."""

    repositories = {}  # {name: {revision: {path: content}}}, the newest last

    def do_POST(self):
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size)
        parts = self.path.split("/")
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization') or 'someone'}/{given['name']}"
            self.repositories.setdefault(name, {})
            return self.answer({"url": f"{self.address}/{name}", "id": name, "name": name})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "preupload" in parts:
            files = json.loads(body)["files"]
            found = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for f in files
            ]
            return self.answer({"files": found})
        if "commit" in parts:
            name = "/".join(parts[3:5])
            versions = self.repositories[name]
            files = dict(list(versions.values())[-1]) if versions else {}
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            commit = f"{len(versions) + 1:040x}"
            versions[commit] = files
            url = f"{self.address}/{name}/commit/{commit}"
            return self.answer({"commitUrl": url, "commitOid": commit, "success": True})
        return self.answer({"error": "unknown"}, 404)

    def do_GET(self):
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, wanted = "/".join(parts[2:4]), (parts[4:] or ["", "main"])[-1]
            versions = self.repositories.get(name, {})
            commit = list(versions)[-1] if wanted == "main" and versions else wanted
            if commit not in versions:
                return self.answer({"error": "Repository not found"}, 404)
            if parts[4:5] == ["tree"]:
                entries = [
                    {"type": "file", "path": path, "size": len(content), "oid": f"{at:040x}"}
                    for at, (path, content) in enumerate(versions[commit].items())
                ]
                return self.answer(entries)
            files = [{"rfilename": path} for path in versions[commit]]
            return self.answer({"id": name, "modelId": name, "sha": commit, "siblings": files})
        name, commit, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        content = self.repositories[name][commit][path]
        Hub.fetched.append(path)
        self.send_response(200)
        self.send_header("ETag", f'"{hash(content) & (2**64 - 1):040x}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def answer(self, found, status=200):
        content = json.dumps(found).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.address = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """The server; `huggingface_hub` asks it and nobody else."""
    Hub.repositories, Hub.fetched = {}, []
    api = importlib.import_module("huggingface_hub.hf_api").api
    constants = {
        "ENDPOINT": Hub.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": Hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }
    modules = [m for name, m in sys.modules.items() if name.startswith("huggingface_hub.")]
    for module in modules:  # which have copies of them, in older versions
        for name in constants.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, constants[name])
    monkeypatch.setattr(api, "endpoint", Hub.address)
    return Hub


@pytest.fixture(scope="module")
def model():
    train = datasets.from_pandas(every_frame(100), EVERY, valid=0, test=0)[0]
    return zoo.get("deres", token_dim=8, num_layers=2, num_heads=2, num_tokens=2).adapt(train)


@pytest.mark.once
class TestHub:
    def test_pushed_and_loaded(self, hub, model):
        address = model.push_to_hub(
            "someone/clicks", metrics={"auc": 0.75}, license="mit", token="t"
        )
        assert address == f"hf://someone/clicks@{1:040x}"
        files = hub.repositories["someone/clicks"][f"{1:040x}"]
        assert {"config.json", "metadata.json", "model.weights.h5", "README.md"} <= set(files)
        rows = every_frame(9)
        expected = model.predict(rows)
        for name in ("hf://someone/clicks", address):
            loaded = zoo.load(name)
            np.testing.assert_array_equal(loaded.predict(rows), expected)
        assert "README.md" not in hub.fetched
        np.testing.assert_array_equal(
            keras.saving.load_model("hf://someone/clicks").predict(rows), expected
        )
        found = zoo.get("deres", weights="hf://someone/clicks")
        np.testing.assert_array_equal(found.predict(rows), expected)
        page = files["README.md"].decode()
        assert page.startswith('---\nlibrary_name: "keras"\n')
        assert '\nlicense: "mit"\n' in page and "| auc | 0.75000 |" in page
        assert 'zoo.load("hf://someone/clicks")' in page and "| user | Categorical |" in page

    def test_an_older_revision(self, hub, model):
        first = model.push_to_hub("someone/clicks", token="t")
        newer = zoo.get("lr").adapt(testing.example_schema())
        newer.push_to_hub("someone/clicks", token="t")
        assert type(zoo.load("hf://someone/clicks")) is zoo.LR
        assert type(zoo.load(first)) is zoo.DeRes

    def test_nothing_but_its_files_is_fetched(self, hub, model):
        model.push_to_hub("someone/clicks", token="t")
        files = hub.repositories["someone/clicks"][f"{1:040x}"]
        files |= {"evil.pkl": b"x", "setup.py": b"x", "model.weights.npz": b"x"}
        zoo.load("hf://someone/clicks")
        assert not {"evil.pkl", "setup.py", "model.weights.npz"} & set(hub.fetched)

    @pytest.mark.parametrize(
        "found",
        [
            {
                "module": "os",
                "class_name": "system",
                "config": "touch ran",
                "registered_name": None,
            },
            {"module": "builtins", "class_name": "eval", "config": "open('ran', 'w')"},
            {
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wA="}}},
            },
        ],
        ids=["system", "eval", "lambda"],
    )
    def test_code_is_not_run(self, hub, model, found, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        model.push_to_hub("someone/clicks", token="t")
        files = hub.repositories["someone/clicks"][f"{1:040x}"]
        files["config.json"] = json.dumps(found).encode()
        with pytest.raises((ValueError, TypeError)):
            zoo.load("hf://someone/clicks")
        assert not (tmp_path / "ran").exists()

    def test_what_is_not_there(self, hub, model):
        with pytest.raises(Exception, match="404|not found|Not Found"):
            zoo.load("hf://someone/nothing")
        for address in ("hf://someone", "hf://a/b/c", "hf://", "hf:///b"):
            with pytest.raises(ValueError, match="hf://user/name"):
                zoo.load(address)
        with pytest.raises(ValueError, match="adapt"):
            zoo.get("lr").push_to_hub("someone/x", token="t")
        hub.repositories["someone/text"] = {f"{1:040x}": {"README.md": b"words"}}
        with pytest.raises(ValueError, match="config.json"):
            zoo.load("hf://someone/text")


@pytest.mark.once
class TestWeights:
    def test_of_a_file(self):
        found = zoo.get("dcnv2", weights=SAVED / "dcnv2.keras")
        assert isinstance(found, zoo.DCNV2) and found.schema is not None

    def test_of_a_data_set(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="train lr --data synthetic --save ") as error:
            zoo.get("lr", weights="synthetic")
        path = str(error.value).rpartition("--save ")[2]
        command = ["train", "lr", "--data", "synthetic", "--save", path, "--epochs", "1"]
        done = CliRunner().invoke(app, [*command, "--option", "rows=2000", "--json"])
        assert done.exit_code == 0, done.output
        assert isinstance(zoo.get("lr", weights="synthetic"), zoo.LR)

    def test_the_small_file_of_the_tests(self):
        model = zoo.get("dcnv2", weights=SAVED / "trained" / "dcnv2-synthetic.keras")
        test = datasets.load("synthetic", rows=20_000)[2]
        model.compile()
        assert model.evaluate(test, verbose=0, return_dict=True)["auc"] > 0.65

    def test_wrong_ones(self, tmp_path):
        with pytest.raises(ValueError, match="class DeepFM.*Received: DCNV2"):
            zoo.get("deepfm", weights=SAVED / "dcnv2.keras")
        with pytest.raises(ValueError, match="num_layers"):
            zoo.get("dcnv2", weights=SAVED / "dcnv2.keras", num_layers=2)
        with pytest.raises(FileNotFoundError, match="No such weights of dcnv2"):
            zoo.get("dcnv2", weights=tmp_path / "none.keras")
