"""The command that looks at data."""

from typing import Annotated

import typer

from keras_ctr import datasets
from keras_ctr.cli.commands import Group, Json, Label, Root, app, console


@app.command()
def describe(
    data: Annotated[
        str, typer.Argument(help="Name of a data set, a prepared folder, a file or a pattern.")
    ],
    root: Root = None,
    label: Label = None,
    group: Group = None,
    html: Annotated[str | None, typer.Option(help="Write a page with plots to this file.")] = None,
    as_json: Json = False,
):
    """Shows what the columns of a data set hold: gaps, drift, leaks. Needs no backend."""
    found = datasets.describe(data, label, root=root, group=group)
    if html:
        found.to_html(html)
    if as_json:
        print(found.to_json())
    else:
        found.show(console)
