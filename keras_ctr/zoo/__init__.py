"""The zoo: every architecture behind one name.

>>> keras_ctr.zoo.get("dcnv2", num_layers=2).name
'dcnv2'
"""

import inspect
import os
import re

import keras

from keras_ctr._cache import cache_folder
from keras_ctr._checks import unknown
from keras_ctr._config import arguments
from keras_ctr._contents import select, summary
from keras_ctr.zoo import _hub
from keras_ctr.zoo._base import CTRModel, dtype_policy
from keras_ctr.zoo.afm import AFM
from keras_ctr.zoo.afn import AFN
from keras_ctr.zoo.attnres import AttnRes
from keras_ctr.zoo.autoint import AutoInt
from keras_ctr.zoo.autoint_plus import AutoIntPlus
from keras_ctr.zoo.bst import BST
from keras_ctr.zoo.dcn import DCN
from keras_ctr.zoo.dcnv2 import DCNV2
from keras_ctr.zoo.deepfm import DeepFM
from keras_ctr.zoo.denseformer import DenseFormer
from keras_ctr.zoo.deres import DeRes
from keras_ctr.zoo.dien import DIEN
from keras_ctr.zoo.din import DIN
from keras_ctr.zoo.dlrm import DLRM
from keras_ctr.zoo.dnn import DNN
from keras_ctr.zoo.eulernet import EulerNet
from keras_ctr.zoo.fcn import FCN
from keras_ctr.zoo.ffm import FFM
from keras_ctr.zoo.fibinet import FiBiNET
from keras_ctr.zoo.finalmlp import FinalMLP
from keras_ctr.zoo.finalnet import FinalNet
from keras_ctr.zoo.fm import FM
from keras_ctr.zoo.fmfm import FmFM
from keras_ctr.zoo.fwfm import FwFM
from keras_ctr.zoo.gdcn import GDCN
from keras_ctr.zoo.hiformer import HiFormer
from keras_ctr.zoo.hstu import HSTU
from keras_ctr.zoo.hyper_connections import HyperConnections
from keras_ctr.zoo.ipnn import IPNN
from keras_ctr.zoo.longer import Longer
from keras_ctr.zoo.lr import LR
from keras_ctr.zoo.masknet import MaskNet
from keras_ctr.zoo.mhc import MHC
from keras_ctr.zoo.nfm import NFM
from keras_ctr.zoo.onetrans import OneTrans
from keras_ctr.zoo.rankmixer import RankMixer
from keras_ctr.zoo.sim_soft import SIMSoft
from keras_ctr.zoo.tokenmixer_large import TokenMixerLarge
from keras_ctr.zoo.transact import TransAct
from keras_ctr.zoo.unimixer import UniMixer
from keras_ctr.zoo.unimixer_lite import UniMixerLite
from keras_ctr.zoo.wide_deep import WideDeep
from keras_ctr.zoo.wukong import Wukong
from keras_ctr.zoo.xdeepfm import XDeepFM

# The table of contents: one line and one file per architecture.
MODELS = {
    "lr": LR,
    "fm": FM,
    "ffm": FFM,
    "fwfm": FwFM,
    "fmfm": FmFM,
    "afm": AFM,
    "dnn": DNN,
    "wide_deep": WideDeep,
    "ipnn": IPNN,
    "nfm": NFM,
    "deepfm": DeepFM,
    "dcn": DCN,
    "dcnv2": DCNV2,
    "gdcn": GDCN,
    "fcn": FCN,
    "xdeepfm": XDeepFM,
    "autoint": AutoInt,
    "autoint_plus": AutoIntPlus,
    "fibinet": FiBiNET,
    "masknet": MaskNet,
    "afn": AFN,
    "eulernet": EulerNet,
    "dlrm": DLRM,
    "finalmlp": FinalMLP,
    "finalnet": FinalNet,
    "wukong": Wukong,
    "hiformer": HiFormer,
    "rankmixer": RankMixer,
    "tokenmixer_large": TokenMixerLarge,
    "unimixer": UniMixer,
    "unimixer_lite": UniMixerLite,
    "din": DIN,
    "dien": DIEN,
    "bst": BST,
    "sim_soft": SIMSoft,
    "transact": TransAct,
    "hstu": HSTU,
    "longer": Longer,
    "onetrans": OneTrans,
    "denseformer": DenseFormer,
    "hyper_connections": HyperConnections,
    "mhc": MHC,
    "attnres": AttnRes,
    "deres": DeRes,
}

GROUPS = {
    "deres-baselines": [
        "dcnv2",
        "autoint",
        "wukong",
        "hstu",
        "rankmixer",
        "onetrans",
        "tokenmixer_large",
        "unimixer",
        "denseformer",
        "hyper_connections",
        "mhc",
        "attnres",
    ],
    "sml": [
        "dnn",
        "wide_deep",
        "ipnn",
        "nfm",
        "deepfm",
        "dcn",
        "dcnv2",
        "gdcn",
        "xdeepfm",
        "autoint_plus",
        "fibinet",
        "masknet",
        "afn",
        "dlrm",
        "wukong",
        "din",
        "dien",
        "bst",
        "sim_soft",
        "transact",
        "hstu",
    ],
    "sequence": [
        "din",
        "dien",
        "bst",
        "sim_soft",
        "transact",
        "hstu",
        "longer",
        "onetrans",
        "denseformer",
        "hyper_connections",
        "mhc",
        "attnres",
        "deres",
    ],
}


def names(group=None):
    """Returns the names of all models, or of a group.

    Args:
        group: a pattern such as `"din*"`; or `"deres-baselines"` (models DeRes is compared with),
            `"sml"` (those that take a `tower`), `"sequence"` (those that read behaviour sequences
            event by event).
    """
    return select(MODELS, GROUPS, group)


def get(name, *, weights=None, **config):
    """Makes a model.

    Args:
        name: one of `names()`; or a `CTRModel` class of your own.
        **config: arguments of the class, see `info(name)`; and `dtype`, a Keras dtype policy such
            as `"mixed_bfloat16"`.
        weights: of a trained model: a `.keras` file, an address `"hf://user/name"`, or the name of
            a data set, whose file is looked for in the folder `weights` of the cache. Arguments,
            columns and encoder are then those of the file.

    Returns:
        A `CTRModel`, a `keras.Model`; without `weights` it is not tied to any data yet.

    Raises:
        ValueError: unknown name or argument; the message names the nearest match. Weights of
            another model, or arguments beside weights.
        FileNotFoundError: no such weights; the message says how to make them.
    """
    cls = _class(name)
    if weights is not None:
        return _trained(cls, weights, config)
    policy = config.pop("dtype", None)
    for argument in config:
        if argument not in arguments(cls):
            raise unknown(f"argument of {name_of(name)}:", argument, [*arguments(cls), "dtype"])
    with dtype_policy(policy):
        return cls(**config, name=name_of(name))


def info(name):
    """Returns a dict about a model: its `name`, `class`, `summary`, `arguments` and `reference`."""
    cls = _class(name)
    doc = inspect.getdoc(cls)
    reference = doc.partition("Reference:\n")[2]
    return {
        "name": name_of(name),
        "class": f"keras_ctr.zoo.{cls.__name__}" if name in MODELS else cls.__qualname__,
        "summary": summary(doc),
        "arguments": arguments(cls),
        "reference": " ".join(reference.split()),
        "groups": [group for group, members in GROUPS.items() if name in members],
    }


def load(path):
    """Loads a model saved with `model.save(path)`, on any backend.

    Never unpickles anything, and runs no code of the file's: it holds names of classes of this
    package, of Keras, and of those that the caller has registered.

    Args:
        path: of the file; or `"hf://user/name"`, `"hf://user/name@revision"`, of the Hugging Face
            Hub (extra `hub`), from where it is downloaded once.
    """
    if str(path).startswith(_hub.SCHEME):
        path = _hub.pulled(path)
    return keras.saving.load_model(path, safe_mode=True)


def _trained(cls, weights, config):
    """The model of a file, for `get`."""
    if config:
        raise ValueError(
            "Weights come with the arguments they were trained with: give none beside them. "
            f"Received: {', '.join(config)}"
        )
    path = str(weights)
    if not path.startswith(_hub.SCHEME) and not os.path.exists(path):
        name = name_of(cls)
        if path.endswith(".keras") or os.sep in path:
            raise FileNotFoundError(f"No such weights of {name}: {path}")
        path = str(cache_folder() / "weights" / f"{name}-{weights}.keras")
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"There are no weights of {name} for {weights!r} here. They are made by: "
                f"keras-ctr train {name} --data {weights} --save {path}"
            )
    model = load(path)
    if type(model) is not cls:
        raise ValueError(
            f"{weights} must hold a model of the class {cls.__name__}. "
            f"Received: {type(model).__name__}"
        )
    return model


def name_of(model):
    """Returns the name of a model: of a class of one's own, that of the class in snake case."""
    if isinstance(model, str):
        return model
    known = {cls: name for name, cls in MODELS.items()}
    return known.get(model) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.__name__).lower()


def _class(name):
    if isinstance(name, type) and issubclass(name, CTRModel):
        return name
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


__all__ = [
    *(cls.__name__ for cls in MODELS.values()),
    "CTRModel",
    "get",
    "info",
    "load",
    "name_of",
    "names",
]
