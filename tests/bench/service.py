"""The HTTP service under load: requests of one raw row from 1, 8 and 64 clients at a time.

    KERAS_BACKEND=torch python tests/bench/service.py --out tests/bench/service [--seconds 30]

The model and the rows are those of `serving.py`. `keras-ctr serve` runs in a process of its own, on
the loopback address, with one thread for ONNX Runtime; the clients are coroutines of another
process, each with a connection of its own, which sends a request as soon as the last is answered.
Service and clients share the machine's cores, as they would not elsewhere.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np
from serving import frame, trained

from keras_ctr.experiments.hardware import hardware
from keras_ctr.experiments.runs import append

COLUMNS = ["clients", "seconds", "requests", "failed", "requests_per_s", "p50_ms", "p99_ms"]
CLIENTS = (1, 8, 64)


async def client(port, bodies, until, found):
    """Sends requests over one connection; adds `(status, seconds)` of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = 0
    while time.perf_counter() < until:
        body = bodies[at % len(bodies)]
        at += 1
        head = f"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n"
        started = time.perf_counter()
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(answer.split(b"content-length: ")[1].split(b"\r\n")[0]))
        found.append((answer.split()[1], time.perf_counter() - started))
    writer.close()


async def load(port, clients, seconds, bodies):
    """Returns `(status, seconds)` of all requests of so many clients."""
    found, until = [], time.perf_counter() + seconds
    await asyncio.gather(*(client(port, bodies, until, found) for _ in range(clients)))
    return found


def started(path):
    """Starts the service; returns its process and port once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from keras_ctr.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "serve", path, "--port", str(port)])
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
            return process, port
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    process.kill()
    raise TimeoutError("the service did not answer within 30 seconds")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="name of the CSV and Markdown files")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each number of clients")
    given = parser.parse_args()
    path = pathlib.Path(given.out).with_suffix(".csv")
    path.unlink(missing_ok=True)
    rows = json.loads(frame(100, seed=1).drop(columns="label").to_json(orient="records"))
    bodies = [json.dumps({"rows": [row]}).encode() for row in rows]
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * (len(COLUMNS) - 1)]
    with tempfile.TemporaryDirectory() as folder:
        process, port = started(str(trained().export(pathlib.Path(folder) / "model.onnx")))
        try:
            asyncio.run(load(port, 8, 2.0, bodies))  # to warm up
            for clients in CLIENTS:
                found = asyncio.run(load(port, clients, given.seconds, bodies))
                times = 1e3 * np.array([each for _, each in found])
                values = (
                    clients,
                    given.seconds,
                    len(found),
                    sum(status != b"200" for status, _ in found),
                    round(len(found) / given.seconds, 1),
                    round(float(np.median(times)), 2),
                    round(float(np.quantile(times, 0.99)), 2),
                )
                append(path, dict(zip(COLUMNS, values, strict=True)))
                lines.append("| " + " | ".join(map(str, values)) + " |")
                print(*values, flush=True)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)
    text = f"DCN-V2 on 39 raw columns, {hardware()}.\n\n" + "\n".join(lines) + "\n"
    path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
