"""What is released: the wheel holds the package and its licence, and pages agree on the version."""

import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

import keras_ctr

pytestmark = pytest.mark.once
ROOT = pathlib.Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_pages_agree_on_the_version():
    version = keras_ctr.__version__
    assert re.search(rf"^version: {re.escape(version)}$", read("CITATION.cff"), re.M)
    [date] = re.findall(rf"^## \[{re.escape(version)}\] - (\S+)$", read("CHANGELOG.md"), re.M)
    assert f"date-released: {date}" in read("CITATION.cff")


def test_the_licence_is_named_alike():
    assert read("LICENSE").split("\n")[1:3] == [
        "                                 Apache License",
        "                           Version 2.0, January 2004",
    ]
    assert 'license = "Apache-2.0"' in read("pyproject.toml")
    assert "license: Apache-2.0" in read("CITATION.cff")


def test_the_wheel_is_whole_and_works_elsewhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keras_ctr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= names
    assert {name.split("/")[0] for name in names - ours} == {
        f"keras_ctr-{keras_ctr.__version__}.dist-info"
    }
    assert any(name.endswith("LICENSE") for name in names)
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    code = (
        "import keras_ctr, keras_ctr.zoo as zoo; "
        "print(keras_ctr.__file__, len(zoo.names()), keras_ctr.__version__)"
    )
    env = {"PYTHONPATH": str(tmp_path / "site"), "KERAS_BACKEND": "torch", "PATH": "/usr/bin:/bin"}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    file, models, version = out.stdout.split()
    assert file.startswith(str(tmp_path)) and int(models) == len(keras_ctr.zoo.names())
    assert version == keras_ctr.__version__
