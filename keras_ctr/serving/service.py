"""`service`: an exported model behind HTTP, as an ASGI application.

Starlette and uvicorn: of the servers compared (LitServe, Ray Serve, BentoML, FastAPI), these are
what two of them stand on, small enough to ship beside ONNX Runtime, and they leave the protocol to
us. LitServe batches, but does not speak KServe's protocol; Ray Serve and BentoML bring clusters and
packaging that one file does not need; FastAPI's part is a schema fixed in code, and here it is the
artefact's.
"""

import asyncio
import contextlib
import importlib.resources
import json
import logging
import math
import os
import pathlib
import time

import numpy as np

from keras_ctr.serving.artefact import OUTPUT, TOO_LARGE, Artefact
from keras_ctr.serving.batching import Batcher
from keras_ctr.serving.rows import feeds, is_utf8

log = logging.getLogger("keras_ctr")

MOST_BYTES = 8 * 2**20  # of a request
MOST_ROWS = 4096  # of a request
WATCH_SECONDS = 1.0
AT_ONCE = 32  # rows, of which others need not wait for the reading
POLICY = (  # of the page, which is one file
    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)
TYPES = {"string": "BYTES", "float64": "FP64", "float32": "FP32", "int32": "INT32"}  # KServe's


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


def service(path, threads=1, most_rows=MOST_ROWS, most_bytes=MOST_BYTES, watch=WATCH_SECONDS):
    """Returns the ASGI application that serves an exported model.

    - `POST /predict`: `{"rows": [{column: value, ...}, ...]}`, answered by
      `{"probability": [...]}`; missing values are `null`, lists are lists. With many candidates for
      one user, `"context": {column: value, ...}` holds once what their rows have in common;
    - `GET /schema`: the columns, and a row to try; `GET /`: a page to try one;
    - `POST /v2/models/NAME/infer` and the other addresses of KServe's open inference protocol v2;
    - `GET /health`: 200 once the model answers; `GET /metrics`: for Prometheus.

    Where the file is replaced by another (a rename, so that it is whole at any time), the new one
    is verified, loaded and tried on its examples, and then takes over; one that fails is reported
    in the log, and the old one stays. No request can make it open a file.

    Args:
        path: of the `.onnx` file.
        threads: of ONNX Runtime, for one batch.
        most_rows: of one request; more are answered by 413.
        most_bytes: of one request's body; more are answered by 413.
        watch: seconds between looks at the file; 0 for none.

    Raises:
        FileNotFoundError, ValueError: as of `Artefact`.
        ImportError: the packages of the extra `serve` are missing.
    """
    _require_packages()
    from starlette.applications import Starlette
    from starlette.routing import Route

    served = _Served(path, threads, most_rows, most_bytes)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(served.watch(watch)) if watch else None
        yield
        if task is not None:
            task.cancel()

    model = "/v2/models/{name}"
    addresses = [
        ("/", served.page, "GET"),
        ("/predict", served.predict, "POST"),
        ("/schema", served.schema, "GET"),
        ("/health", served.health, "GET"),
        ("/metrics", served.metrics, "GET"),
        ("/v2", served.server, "GET"),
        ("/v2/health/live", served.health, "GET"),
        ("/v2/health/ready", served.health, "GET"),
        (model, served.metadata, "GET"),
        (f"{model}/ready", served.ready, "GET"),
        (f"{model}/infer", served.infer, "POST"),
    ]
    routes = [
        Route(address, served.answering(address, handler), methods=[method])
        for address, handler, method in addresses
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.served = served
    return app


class _Served:
    """The model that is served now, and what is answered to each request."""

    def __init__(self, path, threads, most_rows, most_bytes):
        import prometheus_client as prometheus

        self.path = pathlib.Path(path)
        self.threads, self.most_rows, self.most_bytes = threads, most_rows, most_bytes
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "keras_ctr_requests", "Requests", ["address", "status"], registry=self.registry
        )
        self.seconds = prometheus.Histogram(
            "keras_ctr_request_seconds",
            "From a request to its answer",
            ["address"],
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=self.registry,
        )
        self.batches = prometheus.Histogram(
            "keras_ctr_batch_rows",
            "Rows that were run together",
            buckets=[2**k for k in range(14)],
            registry=self.registry,
        )
        self.loads = prometheus.Counter(
            "keras_ctr_model_loads", "Models opened", ["outcome"], registry=self.registry
        )
        self.stamp = self._stamp()
        self._take(self._opened())

    # The model

    def _stamp(self):
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _opened(self):
        """The artefact in the file now, once it has given its examples what it should."""
        artefact = Artefact(self.path, self.threads)
        artefact.check()
        self.loads.labels("good").inc()
        return artefact

    def _take(self, artefact):
        """Has an artefact answer from now on; what waits for the one before is its own."""
        self.now = artefact, Batcher(artefact.run, observe=self.batches.observe)

    @property
    def artefact(self):
        return self.now[0]

    async def watch(self, seconds):
        """Looks at the file again and again, and takes over a newer one."""
        while True:
            await asyncio.sleep(seconds)
            try:
                stamp = self._stamp()
                if stamp == self.stamp:
                    continue
                self.stamp = stamp
                loop = asyncio.get_running_loop()
                artefact = await loop.run_in_executor(None, self._opened)
                if artefact.inputs != self.artefact.inputs:
                    log.warning("The columns of %s have changed.", self.path.name)
                self._take(artefact)
                log.info("%s was replaced: the new model answers.", self.path.name)
            except Exception as error:  # whatever is wrong with it: the old one goes on
                self.loads.labels("bad").inc()
                log.error("%s was replaced, but not taken: %s", self.path.name, error)

    # Requests

    def answering(self, address, handler):
        """A handler whose refusals are answers, and which is counted and timed."""

        async def answer(request):
            started = time.perf_counter()
            try:
                found = await handler(request)
            except Refused as error:
                found = _reply({"error": str(error)}, error.status)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("A request to %s failed", address)
                sentence = "This request could not be answered; the log of the server says why."
                found = _reply({"error": sentence}, 500)
            self.requests.labels(address, str(found.status_code)).inc()
            self.seconds.labels(address).observe(time.perf_counter() - started)
            return found

        return answer

    async def _json(self, request):
        """The body of a request, within its limits."""
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.most_bytes:
            raise Refused(413, f"A request must not exceed {self.most_bytes:,} bytes.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.most_bytes:
                raise Refused(413, f"A request must not exceed {self.most_bytes:,} bytes.")
        try:
            found = json.loads(body, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "The body must be JSON (in which NaN is null).") from error
        if not isinstance(found, dict):
            raise Refused(400, "The body must be a JSON object.")
        return found

    async def _batched(self, batcher, arrays):
        try:
            found = await batcher.predict(arrays)
        except OverflowError as error:
            raise Refused(429, "Too many rows are waiting: try again in a moment.") from error
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):
                raise Refused(422, "These values cannot be read by the model.") from error
            raise
        if not np.isfinite(found).all():
            raise Refused(422, TOO_LARGE)
        return found[:, 0]

    async def predict(self, request):
        """`{"rows": [...]}`, perhaps with a `"context"` -> `{"probability": [...]}`."""

        body = await self._json(request)
        rows = body.get("rows")
        if not isinstance(rows, list) or not rows:
            raise Refused(422, 'The body must be {"rows": [{column: value, ...}, ...]}.')
        if len(rows) > self.most_rows:
            raise Refused(413, f"A request must not have more than {self.most_rows:,} rows.")
        context = body.get("context", {})
        if not isinstance(context, dict):
            raise Refused(422, 'The "context" must be {column: value, ...}.')
        artefact, batcher = self.now
        try:
            if len(rows) <= AT_ONCE:
                arrays = feeds(artefact.inputs, rows, context)
            else:
                arrays = await asyncio.to_thread(feeds, artefact.inputs, rows, context)
        except (ValueError, TypeError, OverflowError) as error:
            raise Refused(422, str(error)) from error
        found = await self._batched(batcher, arrays)
        return _reply({OUTPUT: found.tolist()})

    async def schema(self, request):
        """What the model takes."""

        card = self.artefact.card
        rows = self.artefact.examples["rows"]
        found = {key: card[key] for key in ("model", "name", "inputs", "output", "metrics")}
        example = rows[len(rows) // 2] if isinstance(rows, list) and rows else {}
        return _reply(found | {"example": example})

    async def health(self, request):
        """Whether the model answers."""

        return _reply({"live": True, "ready": True, "model": self.artefact.card["name"]})

    async def metrics(self, request):
        """Counters and histograms, as Prometheus reads them."""
        import prometheus_client as prometheus
        from starlette.responses import Response

        return Response(
            prometheus.generate_latest(self.registry), media_type=prometheus.CONTENT_TYPE_LATEST
        )

    async def page(self, request):
        """A form to try a row."""
        from starlette.responses import HTMLResponse

        text = importlib.resources.files("keras_ctr.serving").joinpath("page.html").read_text()
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    # KServe's open inference protocol, version 2

    def _named(self, request):
        if request.path_params["name"] != self.artefact.card["name"]:
            raise Refused(404, f"The only model here is {self.artefact.card['name']!r}.")

    async def server(self, request):
        """Metadata of the server."""

        version = self.artefact.card["versions"]["keras_ctr"]
        return _reply({"name": "keras_ctr", "version": version, "extensions": []})

    async def ready(self, request):
        """Whether a model answers."""

        self._named(request)
        return _reply({"name": self.artefact.card["name"], "ready": True})

    async def metadata(self, request):
        """Inputs and outputs of a model."""

        self._named(request)
        inputs = [
            {"name": c["name"], "datatype": TYPES[c["dtype"]], "shape": [-1, c["width"]]}
            for c in self.artefact.inputs
        ]
        output = {"name": OUTPUT, "datatype": "FP32", "shape": [-1, 1]}
        found = {"name": self.artefact.card["name"], "platform": "onnxruntime_onnx"}
        return _reply(found | {"inputs": inputs, "outputs": [output]})

    async def infer(self, request):
        """Tensors in, tensors out."""

        self._named(request)
        body = await self._json(request)
        artefact, batcher = self.now
        arrays = _tensors(artefact.inputs, body.get("inputs"), self.most_rows)
        found = await self._batched(batcher, arrays)
        output = {
            "name": OUTPUT,
            "datatype": "FP32",
            "shape": [len(found), 1],
            "data": found.tolist(),
        }
        answer = {"model_name": artefact.card["name"], "outputs": [output]}
        if isinstance(body.get("id"), str):
            answer["id"] = body["id"]
        return _reply(answer)


def _reply(content, status=200):
    from starlette.responses import JSONResponse

    return JSONResponse(content, status)


def _tensors(columns, given, most_rows):
    """The arrays of a request of KServe's protocol."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Refused(422, 'The body must hold "inputs", a list of tensors.')
    tensors = {each.get("name"): each for each in given if isinstance(each.get("name"), str)}
    arrays, rows = {}, set()
    for column in columns:
        name, width = column["name"], column["width"]
        tensor, kind = tensors.get(name), TYPES[column["dtype"]]
        if tensor is None:
            raise Refused(422, f"There must be a tensor for {name!r}.")
        data = list(_flat(tensor.get("data"), 3))
        count, rest = divmod(len(data), width)
        if rest or tensor.get("shape") not in ([count, width], [count]):
            raise Refused(
                422, f"{name!r} must be of shape [rows, {width}], and hold as many values."
            )
        text = column["dtype"] == "string"
        fits = all(isinstance(v, str) and is_utf8(v) if text else _is_number(v) for v in data)
        if tensor.get("datatype") != kind or not fits:
            raise Refused(422, f"{name!r} must be of datatype {kind}, and hold {column['holds']}.")
        dtype = object if text else column["dtype"]
        values = [float("nan") if v is None else v for v in data] if not text else data
        try:
            arrays[name] = np.array(values, dtype).reshape(count, width)
        except (OverflowError, ValueError) as error:
            raise Refused(422, f"{name!r} holds a number that is too large.") from error
        rows.add(count)
    if len(rows) != 1 or rows == {0}:
        raise Refused(422, "All tensors must have the same number of rows, and one at least.")
    if max(rows) > most_rows:
        raise Refused(413, f"A request must not have more than {most_rows:,} rows.")
    return arrays


def _flat(data, depth):
    """The values of nested lists."""
    if not isinstance(data, list):
        raise Refused(422, "The data of a tensor must be a list.")
    for value in data:
        if isinstance(value, list) and depth:
            yield from _flat(value, depth - 1)
        else:
            yield value


def _is_number(value):
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _no_number(name):
    raise ValueError(name)


def _require_packages():
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError("To serve, `pip install keras-ctr[serve]`.") from error


def serve(path, host="127.0.0.1", port=8000, report=lambda line: None, **options):
    """Serves an exported model over HTTP until it is told to stop (Ctrl-C, SIGTERM).

    Requests that are being answered are answered first, for up to 30 seconds.

    Args:
        path: of the `.onnx` file.
        host: address to listen on. By default this machine alone can connect; there is no
            authentication: put a gateway before it where others shall.
        port: to listen on.
        report: function of a line that says what is served where.
        **options: of `service`.
    """
    app = service(path, **options)
    report(f"{app.state.served.artefact.card['name']} on http://{host}:{port}")
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level=os.environ.get("KERAS_CTR_LOG", "warning"),
        access_log=False,
        timeout_graceful_shutdown=30,
        h11_max_incomplete_event_size=64 * 1024,
    )
