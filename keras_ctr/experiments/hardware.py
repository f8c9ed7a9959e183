"""What a measurement was taken with: versions and hardware."""

import importlib.metadata
import os
import pathlib
import platform

import keras


def versions():
    """Returns a dict of `backend`, `keras`, `keras_ctr`, `backend_version` and `hardware`."""
    from keras_ctr._version import __version__

    backend = keras.backend.backend()
    found = {"backend": backend, "keras": keras.__version__, "keras_ctr": __version__}
    for name in (backend, f"{backend}-cpu"):
        try:
            found["backend_version"] = importlib.metadata.version(name)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "hardware": hardware()}


def hardware():
    """Processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"
