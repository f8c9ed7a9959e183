"""Where things are kept between runs."""

import os
from pathlib import Path


def cache_folder(cache=None):
    """`cache`, else `$KERAS_CTR_CACHE`, else `~/.cache/keras_ctr`."""
    return Path(cache or os.environ.get("KERAS_CTR_CACHE") or Path.home() / ".cache" / "keras_ctr")
