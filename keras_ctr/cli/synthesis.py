"""The command that makes up data."""

import dataclasses
from typing import Annotated

import typer

from keras_ctr import datasets
from keras_ctr.cli.commands import Json, app, show


@app.command()
def synthesize(
    name: Annotated[str, typer.Argument(help="Whose format: criteo or avazu.")],
    rows: Annotated[int, typer.Option(help="How many.")],
    path: Annotated[
        str | None, typer.Option(help="File (.gz: compressed) or folder; default: this one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same numbers give the same bytes.")] = 0,
    as_json: Json = False,
):
    """Writes a file in the raw format of a data set, with made-up rows and a known best AUC."""
    made = datasets.synthesize(name, rows, seed, path)
    show(dataclasses.asdict(made) | {"path": str(made.path)}, as_json)
