"""Models on the Hugging Face Hub, in the layout in which Keras keeps them there (`hf://`)."""

import json
import os
import pathlib
import tempfile

import keras

from keras_ctr._version import __version__

SCHEME = "hf://"
# Nothing else is fetched: no format that could hold code, and no picture.
FILES = ["config.json", "metadata.json", "model.weights.h5", "assets/*"]


def push(model, repo_id, metrics=None, license=None, private=False, token=None, message=None):
    """See `CTRModel.push_to_hub`."""
    hub = _hub()
    if model.schema is None:
        raise ValueError("Only a model that knows its columns can be published: `adapt` it first.")
    api = hub.HfApi(token=token, library_name="keras_ctr", library_version=__version__)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    with tempfile.TemporaryDirectory() as folder:
        model.settle()
        keras.saving.save_model(model, folder, zipped=False)
        card = card_of(model, repo_id, metrics, license)
        (pathlib.Path(folder) / "README.md").write_text(card, encoding="utf-8")
        done = api.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=message or f"{type(model).__name__}"
        )
    return f"{SCHEME}{repo_id}@{done.oid}"


def pulled(address):
    """Returns the folder into which a model of the hub was downloaded, or was before.

    Args:
        address: `"hf://user/name"`, or `"hf://user/name@revision"`.

    Raises:
        ValueError: not such an address, or no model of Keras there.
    """
    hub = _hub()
    repo_id, _, revision = str(address).removeprefix(SCHEME).partition("@")
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise ValueError(
            "A model of the hub is called 'hf://user/name', or 'hf://user/name@revision'. "
            f"Received: {address!r}"
        )
    folder = hub.snapshot_download(
        repo_id,
        revision=revision or None,
        allow_patterns=FILES,
        library_name="keras_ctr",
        library_version=__version__,
    )
    if not os.path.isfile(os.path.join(folder, "config.json")):
        raise ValueError(f"{address} holds no model of Keras: it has no config.json.")
    return folder


def card_of(model, repo_id, metrics=None, license=None):
    """Returns the text of a model's page: what it is, its columns, what it reaches, how to load it.

    Args:
        model: an adapted `CTRModel`.
        repo_id: `"user/name"`.
        metrics: dict of numbers.
        license: identifier such as `"apache-2.0"`.
    """
    from keras_ctr import zoo

    info = zoo.info(zoo.name_of(type(model)))
    head = {
        "library_name": "keras",
        "pipeline_tag": "tabular-classification",
        "tags": ["keras_ctr", "click-through-rate", "recommendation", info["name"]],
    }
    if license:
        head["license"] = license
    columns = [
        f"| {_cell(feature.name)} | {type(feature).__name__} |" for feature in model.schema.features
    ]
    given = model.get_config()
    arguments = {
        name: given[name]
        for name in info["arguments"]
        if isinstance(given.get(name), int | float | str | list | tuple)
    }
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in head.items()),  # JSON is YAML
        "---",
        "",
        f"# {repo_id}",
        "",
        f"{type(model).__name__} of keras_ctr {__version__}: {info['summary']}",
        "",
        "```python",
        "import keras_ctr",
        "",
        f'model = keras_ctr.zoo.load("{SCHEME}{repo_id}")  # TensorFlow, JAX or PyTorch',
        "model.predict(rows)  # a data frame of the columns below"
        if model.encoder is not None
        else "model.predict(batch)  # packed arrays of the schema below",
        "```",
        "",
        f"{model.count_params():,} parameters; {json.dumps(arguments)}",
        "",
        f"Reference: {info['reference']}" if info["reference"] else "",
        "",
        *_table(
            "metric", "value", [f"| {n} | {float(v):.5f} |" for n, v in (metrics or {}).items()]
        ),
        *_table("column", "kind", columns),
    ]
    return "\n".join(lines)


def _table(first, second, rows):
    return [f"| {first} | {second} |", "| --- | --- |", *rows, ""] if rows else []


def _cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def _hub():
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "Models of the hub need the package huggingface_hub: `pip install keras-ctr[hub]`."
        ) from error
    return huggingface_hub
