"""What `CTRModel.score` gives a model: many candidates beside one context."""

import numpy as np

from keras_ctr.features.batches import check_arrays
from keras_ctr.features.columns import Cross
from keras_ctr.features.frames import as_polars


def together(model, context, candidates):
    """Puts one context and its candidates together, as packed arrays.

    Args:
        model: an adapted `CTRModel`.
        context, candidates: see `CTRModel.score`.

    Returns:
        Packed arrays of `N` rows, sequences of the context of one row; and the names of the fields
        that may differ from candidate to candidate.
    """
    schema = model.schema
    if not (_is_packed(context) and _is_packed(candidates)):
        if model.encoder is None:
            raise ValueError(
                "A model without an encoder scores packed arrays, dicts that hold "
                f"{sorted(schema.shapes())} between them. Received: {type(context).__name__} and "
                f"{type(candidates).__name__}"
            )
        return _encoded(model.encoder, context, candidates)
    _require_all(schema.shapes(), context, candidates)
    if {len(array) for array in context.values()} - {1}:
        lengths = {key: len(array) for key, array in context.items()}
        raise ValueError(f"Arrays of a context must have one row. Received: {lengths}")
    heights = {key: len(array) for key, array in candidates.items()}
    if len(set(heights.values())) != 1:
        raise ValueError(f"Arrays of candidates must have one height. Received: {heights}")
    count = max(heights.values())
    arrays = {**context, **candidates}
    packed = {"ids": schema.categoricals, "values": schema.numerics}
    differing = [
        feature.name
        for key in candidates
        for feature in packed.get(key, [schema[key]] if key in schema.fields else [])
    ]
    arrays = {key: arrays[key] for key in schema.shapes()}
    if count:
        check_arrays(_spread(schema, arrays, count, histories=True), schema)
    return (_spread(schema, arrays, count) if count else None), differing


def _encoded(encoder, context, candidates):
    """As `together`, of raw values."""
    schema = encoder.schema
    columns = [name for name in schema.columns if name not in schema.optional]
    row = _one_row(context)
    listed = isinstance(candidates, list)
    if listed and not all(isinstance(each, dict) for each in candidates):
        raise ValueError("Candidates in a list must be dicts, one per row.")
    if listed and not candidates:
        return None, []
    candidates = candidates if listed else as_polars(candidates)
    count = len(candidates)
    theirs = set().union(*candidates) if listed else set(candidates.columns)
    _require_all(columns, row, theirs)
    if not count:
        return None, []
    own = [name for name in columns if name in theirs]
    if not own:
        raise ValueError(f"Candidates must hold a column of the schema. Received: {_names(theirs)}")
    first = candidates[0] if listed else candidates[:1].to_dicts()[0]
    whole = {name: row[name] if name in row else first.get(name) for name in columns}
    arrays = _batch(encoder, [whole])
    part, further, differing = _part(encoder, own)
    given = {name: row[name] for name in further}
    if not given:
        rows = candidates
    elif listed:
        rows = [{**given, **each} for each in candidates]
    else:
        same = as_polars([given])
        rows = candidates.with_columns(same[name].new_from_index(0, count) for name in given)
    found = _batch(part, rows)
    return _merged(schema, part.schema, arrays, found, count), differing


def _is_packed(x):
    return isinstance(x, dict) and all(
        isinstance(a, np.ndarray) and a.ndim == 2 for a in x.values()
    )


def _one_row(context):
    """A context as a dict of values."""
    if isinstance(context, dict):
        return context
    if hasattr(context, "to_dict") and getattr(context, "ndim", 2) == 1:  # a row of pandas
        return context.to_dict()
    rows = context if isinstance(context, list) else as_polars(context).to_dicts()
    if len(rows) != 1 or not isinstance(rows[0], dict):
        raise ValueError(
            "A context must be one row: a dict of values, or a table of one row. Received: "
            f"{len(rows)} rows"
        )
    return rows[0]


def _names(columns):
    return ", ".join(map(str, columns)) or "none"


def _require_all(names, ours, theirs):
    """Every name must stand in one of the two."""
    twice = [name for name in names if name in ours and name in theirs]
    missing = [name for name in names if name not in ours and name not in theirs]
    if twice or missing:
        raise ValueError(
            "Context and candidates must hold every column of the schema between them, each once. "
            f"Received: neither with {', '.join(missing) or 'none missing'}; in both "
            f"{', '.join(twice) or 'none'}"
        )


def _part(encoder, own):
    """The encoder of what depends on candidates.

    Returns:
        It, the columns of the context that it needs as well, and the fields it makes.
    """
    schema, own = encoder.schema, set(own)
    owners = {
        name: feature
        for feature in schema
        for name in (feature.name, *(other.name for other in getattr(feature, "derived", ())))
    }

    def parents(feature):
        """The features that one is `of`."""
        of = getattr(feature, "of", ())
        return [owners[name] for name in ([of] if isinstance(of, str) else of) if name in owners]

    def columns(feature):
        """The raw columns that the values of a feature are made of."""
        if isinstance(feature, Cross):
            return {parent.name for parent in parents(feature)}
        weights = getattr(feature, "weights", None)
        return {feature.name} | ({weights} if weights is not None else set())

    chosen = [feature for feature in schema if columns(feature) & own]
    needed = {each.name: each for f in chosen for each in (f, *parents(f))}
    names = set().union(*(columns(feature) for feature in needed.values()))
    made = {name for name, feature in owners.items() if feature in chosen}
    differing = [name for name in schema.fields if name in made]
    return encoder.part(needed), sorted(names - own), differing


def _batch(encoder, rows):
    return encoder.encode_few(rows) or encoder.encode(rows, label=False)


def _merged(schema, part, arrays, found, count):
    """The arrays of the context, with what the candidates have of their own."""
    merged = {}
    for key in schema.shapes():
        kind = {"ids": "categoricals", "values": "numerics"}.get(key)
        if kind is None:
            merged[key] = found.get(key, arrays[key])
            continue
        merged[key] = np.repeat(arrays[key], count, axis=0)
        names = [feature.name for feature in getattr(schema, kind)]
        for at, feature in enumerate(getattr(part, kind)):
            merged[key][:, names.index(feature.name)] = found[key][:, at]
    return _spread(schema, merged, count)


def _spread(schema, arrays, count, histories=False):
    """One row as many, but of sequences, unless those are asked for."""
    kept = () if histories else [sequence.name for sequence in schema.sequences]
    return {
        key: array if key in kept or len(array) == count else np.repeat(array, count, axis=0)
        for key, array in arrays.items()
    }


def spread(schema, arrays):
    """Repeats what all candidates share, for models that need every row whole."""
    return _spread(schema, arrays, max(map(len, arrays.values())), histories=True)


def can_share(model, arrays, differing):
    """Whether the model reads histories of one row beside many candidates."""
    schema = model.schema
    lengths = {len(arrays[sequence.name]) for sequence in schema.sequences}
    return (
        lengths == {1}
        and not any(bag.tokens for bag in schema.bags)  # they are histories of each row
        and model.shares_histories(differing)
    )
