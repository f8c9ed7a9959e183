"""The HTTP service: answers, batches, limits, garbage, a newer model, and its end."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx
import keras
import numpy as np
import pytest
from test_columns import EVERY, every_frame

from keras_ctr import datasets, zoo
from keras_ctr.serving import Artefact, service
from keras_ctr.serving.batching import Batcher

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def train():
    return datasets.from_pandas(every_frame(200), EVERY, valid=0, test=0, batch_size=100)[0]


def exported(path, train, seed=0):
    keras.utils.set_random_seed(seed)
    model = zoo.get("dcnv2", embedding_dim=4, hidden_units=[8]).adapt(train)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
    return model.export(path)


@pytest.fixture(scope="module")
def path(train, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("service") / "model.onnx", train)


@pytest.fixture(scope="module")
def rows():
    frame = every_frame(40, 3).drop("click").with_columns(time=1.7e9)
    return json.loads(frame.write_json())


def asked(app, *requests):
    """Sends requests to an application at the same time; returns the answers."""

    async def ask():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await asyncio.gather(
                *(client.request(method, address, **how) for method, address, how in requests)
            )

    return asyncio.run(ask())


def post(address, body):
    return "POST", address, {"content": json.dumps(body).encode()}


def get(address):
    return "GET", address, {}


class TestAnswers:
    def test_rows(self, path, rows):
        expected = Artefact(path).predict(rows)[:, 0]
        one, all_of_them = asked(
            service(path), post("/predict", {"rows": rows[:1]}), post("/predict", {"rows": rows})
        )
        assert one.status_code == all_of_them.status_code == 200
        np.testing.assert_allclose(one.json()["probability"], expected[:1], atol=1e-6)
        np.testing.assert_allclose(all_of_them.json()["probability"], expected, atol=1e-6)

    def test_what_rows_have_in_common_is_said_once(self, path, rows):
        context = {name: rows[0][name] for name in ("user", "history", "image")}
        own = [{name: row[name] for name in row if name not in context} for row in rows]
        expected = Artefact(path).predict([context | row for row in own])[:, 0]
        bodies = [{"context": context, "rows": own}, {"context": rows[0], "rows": [{}] * 3}]
        bodies += [{"context": ["u"], "rows": own}, {"context": context, "rows": rows}]
        bodies += [
            {"context": {"user": "u"}, "rows": own},
            {"context": {"image": [1]}, "rows": own},
        ]
        found = asked(service(path), *(post("/predict", body) for body in bodies))
        np.testing.assert_allclose(found[0].json()["probability"], expected, atol=1e-6)
        np.testing.assert_allclose(
            found[1].json()["probability"], Artefact(path).predict(rows[:1] * 3)[:, 0], atol=1e-6
        )
        assert [answer.status_code for answer in found[2:]] == [422] * 4
        assert "user, image, history" in found[3].json()["error"]
        assert "image, history" in found[4].json()["error"]

    def test_concurrent_requests_are_run_together(self, path, rows):
        app = service(path)
        expected = Artefact(path).predict(rows)[:, 0]
        found = asked(app, *(post("/predict", {"rows": [row]}) for row in rows))
        np.testing.assert_allclose(
            [answer.json()["probability"][0] for answer in found], expected, atol=1e-6
        )
        [metrics] = asked(app, get("/metrics"))
        batches = float(_sample(metrics.text, "keras_ctr_batch_rows_count"))
        assert batches < len(rows) / 2
        assert float(_sample(metrics.text, "keras_ctr_batch_rows_sum")) == len(rows)
        counted = _sample(metrics.text, 'keras_ctr_requests_total{address="/predict",status="200"}')
        assert float(counted) == len(rows)

    def test_schema_health_page(self, path):
        schema, health, page, nowhere, wrong = asked(
            service(path), get("/schema"), get("/health"), get("/"), get("/x"), get("/predict")
        )
        names = [column["name"] for column in schema.json()["inputs"]]
        assert set(schema.json()["example"]) == set(names) and "price" in names
        assert health.json()["ready"] and health.status_code == 200
        assert "Probability of a click" in page.text and "http" not in page.text
        assert nowhere.status_code == 404 and wrong.status_code == 405

    def test_the_protocol_of_kserve(self, path, rows):
        artefact = Artefact(path)
        from keras_ctr.serving import feeds

        kinds = {"string": "BYTES", "float64": "FP64"}
        inputs = [
            {
                "name": column["name"],
                "datatype": kinds[column["dtype"]],
                "shape": list(array.shape),
                "data": [None if v != v else v for v in array.reshape(-1).tolist()],
            }
            for column, array in zip(
                artefact.inputs, feeds(artefact.inputs, rows).values(), strict=True
            )
        ]
        model = "/v2/models/dcnv2"
        server, live, metadata, ready, infer, other, short = asked(
            service(path),
            get("/v2"),
            get("/v2/health/live"),
            get(model),
            get(f"{model}/ready"),
            post(f"{model}/infer", {"id": "7", "inputs": inputs}),
            get("/v2/models/another"),
            post(f"{model}/infer", {"inputs": inputs[1:]}),
        )
        assert server.json()["name"] == "keras_ctr" and live.status_code == 200
        assert ready.json() == {"name": "dcnv2", "ready": True}
        assert [each["name"] for each in metadata.json()["inputs"]] == [
            column["name"] for column in artefact.inputs
        ]
        [output] = infer.json()["outputs"]
        assert output["shape"] == [len(rows), 1] and infer.json()["id"] == "7"
        np.testing.assert_allclose(output["data"], artefact.predict(rows)[:, 0], atol=1e-6)
        assert other.status_code == 404 and short.status_code == 422


def _sample(text, name):
    return next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name))


class TestGarbage:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"price": "dear"}, "'price' must hold numbers"),
            ({"price": 10**400}, ""),
            ({"user": {"a": 1}}, "'user' must hold text"),
            ({"user": "\ud800"}, "'user' must hold text"),
            ({"image": [1, 2]}, "'image' must hold numbers"),
            ({"history": 7.5e300}, ""),
            ({"plain": 1e300}, "small enough"),
            ({"time": "soon"}, "'time' must hold moments"),
        ],
        ids=str,
    )
    def test_wrong_values(self, path, rows, change, message):
        [answer] = asked(service(path), post("/predict", {"rows": [rows[0] | change]}))
        if message or answer.status_code != 200:
            assert 400 <= answer.status_code < 500
            assert message in answer.json()["error"]

    def test_limits(self, path, rows):
        app = service(path, most_rows=50, most_bytes=100_000)
        long, many, none, missing, broken, nan, listed = asked(
            app,
            post("/predict", {"rows": [rows[0] | {"user": "x" * 200_000}]}),
            post("/predict", {"rows": [{}] * 51}),
            post("/predict", {"rows": []}),
            post("/predict", {"rows": [{"user": "u"}]}),
            ("POST", "/predict", {"content": b'{"rows": [{'}),
            ("POST", "/predict", {"content": b'{"rows": [{"price": NaN}]}'}),
            ("POST", "/predict", {"content": b"[" * 50_000}),
        )
        assert [a.status_code for a in (long, many, none, missing)] == [413, 413, 422, 422]
        assert [a.status_code for a in (broken, nan, listed)] == [400, 400, 400]
        assert "item" in missing.json()["error"]

    def test_one_bad_request_does_not_hurt_its_neighbours(self, path, rows):
        bad = rows[0] | {"price": "dear"}
        found = asked(
            service(path), *(post("/predict", {"rows": [row]}) for row in [*rows[:9], bad])
        )
        assert [answer.status_code for answer in found] == [200] * 9 + [422]

    def test_fuzzed_bodies(self, path, rows):
        """Always a 4xx with a sentence, or an answer; never a 5xx, a path or a trace."""
        random.seed(0)
        good = json.dumps({"rows": rows[:1]}).encode()
        junk = [None, "", "x" * 99, -1, 1e308, [], {}, [[]], True, "\u0000", "-0.0", 2**63]

        def body(at):
            if at % 3 == 0:  # cut, or with other bytes
                content = bytearray(good[: random.randrange(len(good))] if at % 2 else good)
                for _ in range(random.randrange(1, 6)):
                    if content:
                        content[random.randrange(len(content))] = random.randrange(256)
                return bytes(content)
            row = dict(rows[0])
            for name in random.sample(list(row), 3):
                row[name] = random.choice(junk)
            if at % 7 == 0:
                row.pop(random.choice(list(row)))
            found = {"rows": [row] if at % 11 else random.choice(junk)}
            if at % 13 == 0:
                found["context"] = random.choice([*junk, {"user": random.choice(junk)}])
            return json.dumps(found).encode()

        app, statuses = service(path), {}
        for start in range(0, 10_000, 100):
            addresses = ["/predict", "/v2/models/dcnv2/infer"]
            found = asked(
                app,
                *(
                    ("POST", addresses[at % 5 == 0], {"content": body(at)})
                    for at in range(start, start + 100)
                ),
            )
            for answer in found:
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
                if answer.status_code != 200:
                    sentence = answer.json()["error"]
                    assert sentence and "Traceback" not in sentence and os.sep not in sentence
        assert statuses[200] > 100 and statuses[422] > 500 and statuses[400] > 100


class TestBatcher:
    def test_too_many_waiting_rows_are_refused(self):
        def slow(arrays):
            time.sleep(0.05)
            return arrays["x"]

        async def ask():
            batcher = Batcher(slow, most_rows=2, most_waiting=5)
            calls = [batcher.predict({"x": np.full((1, 1), at)}) for at in range(8)]
            return await asyncio.gather(*calls, return_exceptions=True)

        found = asyncio.run(ask())
        assert [float(each[0, 0]) for each in found[:5]] == [0, 1, 2, 3, 4]
        assert all(isinstance(each, OverflowError) for each in found[5:])

    def test_who_is_at_fault_is_told(self):
        def run(arrays):
            if (arrays["x"] < 0).any():
                raise ValueError("negative")
            return arrays["x"]

        async def ask():
            batcher = Batcher(run)
            calls = [batcher.predict({"x": np.full((1, 1), at)}) for at in (1, 2, -3, 4)]
            return await asyncio.gather(*calls, return_exceptions=True)

        one, two, wrong, four = asyncio.run(ask())
        assert (one[0, 0], two[0, 0], four[0, 0]) == (1, 2, 4)
        assert isinstance(wrong, ValueError)


@pytest.fixture
def running(tmp_path, train):
    """A service in a process of its own: its address, the file it serves, and the process."""
    path = exported(tmp_path / "model.onnx", train)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from keras_ctr.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(path), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            break
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.stdout.read().decode()
            time.sleep(0.1)
    yield address, path, process
    process.kill()
    process.wait()


def sent(address, rows):
    request = urllib.request.Request(
        f"{address}/predict", json.dumps({"rows": rows}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["probability"]


def test_a_newer_model_takes_over_without_a_dropped_request(running, train, rows):
    address, path, process = running
    before = sent(address, rows[:1])
    (path.parent / "broken.onnx").write_bytes(path.read_bytes()[:-100])
    os.replace(path.parent / "broken.onnx", path)  # is not taken
    time.sleep(2.5)
    assert sent(address, rows[:1]) == before
    other = exported(path.parent / "other.onnx", train, seed=1)
    expected = Artefact(other).predict(rows[:1])[0, 0]
    os.replace(other, path)
    until, found = time.monotonic() + 20, before
    with ThreadPoolExecutor(4) as pool:
        while time.monotonic() < until and found == before:
            answers = list(pool.map(lambda _: sent(address, rows[:1]), range(8)))
            found = answers[-1]
    assert abs(found[0] - expected) < 1e-6
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, -signal.SIGTERM)


def test_requests_in_flight_are_answered_before_the_end(running, rows):
    address, _, process = running
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(sent, address, rows * 5) for _ in range(8)]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        found = []
        for answer in answers:
            try:
                found.append(len(answer.result()))
            except (urllib.error.URLError, ConnectionError):
                found.append(0)  # not yet taken when the end came
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert len(rows) * 5 in found
