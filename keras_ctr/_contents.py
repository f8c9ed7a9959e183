"""What the zoo and the studies hold, read from their source: lists need no backend."""

import ast
import fnmatch
import pathlib

from keras_ctr._checks import unknown

PACKAGE = pathlib.Path(__file__).parent


def select(names, groups, group=None):
    """Returns the names of a group: of all, of a pattern such as `"din*"`, or of one in `groups`.

    Raises:
        ValueError: no such group; the message names the nearest one.
    """
    if group is None:
        return list(names)
    if set(group) & set("*?["):
        return fnmatch.filter(names, group)
    if group not in groups:
        raise unknown("group", group, groups)
    return list(groups[group])


def models(group=None):
    """Returns `{name: summary}` of the models of a group, see `keras_ctr.zoo.names`."""
    zoo = _parsed("zoo/__init__.py")
    homes = {
        alias.name: node.module
        for node in zoo.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    table = _assigned(zoo, "MODELS")
    classes = {name.value: cls.id for name, cls in zip(table.keys, table.values, strict=True)}
    chosen = select(classes, ast.literal_eval(_assigned(zoo, "GROUPS")), group)
    return {name: _summary(homes[classes[name]], classes[name]) for name in chosen}


def studies():
    """Returns the names of the studies, see `keras_ctr.studies.names`."""
    table = _assigned(_parsed("experiments/studies.py"), "STUDIES")
    return [name.value for name in table.keys]


def summary(docstring):
    """The first paragraph of a docstring, as one line."""
    return " ".join(docstring.partition("\n\n")[0].split())


def _parsed(path):
    return ast.parse((PACKAGE / path).read_text(encoding="utf-8"))


def _assigned(tree, name):
    """What a module assigns to a name, as syntax."""
    return next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]
    )


def _summary(module, name):
    tree = _parsed(module.partition(".")[2].replace(".", "/") + ".py")
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return summary(ast.get_docstring(found))
