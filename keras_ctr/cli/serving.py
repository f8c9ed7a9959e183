"""The commands on exported models."""

import pathlib
from typing import Annotated

import typer

import keras_ctr
from keras_ctr.cli.commands import Json, app, show


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A .keras file.")],
    path: Annotated[str, typer.Argument(help="File to write, .onnx or .pt2, or a folder.")],
    format: Annotated[
        str | None,
        typer.Option(help="onnx, pt2, triton or tf_saved_model; default: by PATH, else triton."),
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="Embedding tables as float16 or int8.")
    ] = None,
    as_json: Json = False,
):
    """Writes a saved model as a file that serves raw rows without Keras or this package."""
    net = keras_ctr.zoo.load(model)
    written = net.export(path, format, quantize=quantize)
    files = [written, written.with_suffix(".data"), *written.rglob("*")]
    size = sum(file.stat().st_size for file in files if file.is_file())
    show({"file": str(written), "bytes": size}, as_json)


@app.command()
def check(
    artefact: Annotated[str, typer.Argument(help="A file that `export` wrote.")],
    as_json: Json = False,
):
    """Reads an exported model, verifies its checksum and replays the examples it holds."""
    found = keras_ctr.serving.Artefact(artefact)
    apart = found.check()
    versions = ", ".join(f"{name} {version}" for name, version in found.card["versions"].items())
    show(
        {
            "file": pathlib.Path(artefact).name,
            "model": found.card["model"],
            "inputs": len(found.inputs),
            "examples": len(found.examples["probabilities"]),
            "largest difference": apart,
            "written by": versions,
        },
        as_json,
    )


@app.command()
def serve(
    artefact: Annotated[str, typer.Argument(help="A file that `export` wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    threads: Annotated[int, typer.Option(help="Of ONNX Runtime, for one batch.")] = 1,
    max_rows: Annotated[int, typer.Option(help="Of one request.")] = 4096,
    max_bytes: Annotated[int, typer.Option(help="Of one request.")] = 8 * 2**20,
):
    """Serves an exported model over HTTP; takes over a newer file of that name. No backend."""
    keras_ctr.serving.serve(
        artefact,
        host,
        port,
        report=lambda line: print(line, flush=True),
        threads=threads,
        most_rows=max_rows,
        most_bytes=max_bytes,
    )
