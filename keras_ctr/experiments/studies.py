"""Studies: several models trained alike, a row per run, and what comes of the comparison.

>>> sorted(keras_ctr.studies.names())
['ablation', 'baselines', 'history', 'rows', 'scaling', 'sml', 'sml_parts']

A study is a list of arms, each a model of the zoo with its arguments, trained by one recipe with
the same seeds. Runs are appended to a CSV file one by one; a run that is in the file already is not
repeated, so that a study that was stopped goes on where it was. Differences are taken seed by seed.
"""

import keras

from keras_ctr import layers, zoo
from keras_ctr._checks import unknown
from keras_ctr.experiments import runs
from keras_ctr.experiments.fits import scaling_fits
from keras_ctr.experiments.runs import Arm, Study, append, read, train_once, with_spread
from keras_ctr.layers import residuals

__all__ = [
    "ABLATIONS",
    "STUDIES",
    "Arm",
    "Study",
    "append",
    "get",
    "names",
    "read",
    "run",
    "scaling_fits",
    "summary",
    "train_once",
    "with_spread",
]

GENERATED = {"synthetic": {"rows": 50_000}}
MORE_GENERATED = {"synthetic": {"rows": 100_000}}  # of 50,000, eight layers make no more than two
RECENT = {"movielens_100k": {"history": 20}, "amazon_beauty": {"history": 20}}


def baselines():
    """DeRes beside the twelve baselines, one short recipe on Frappe."""
    arms = [Arm(name, name) for name in zoo.names("deres-baselines")] + [Arm("deres", "deres")]
    return Study("DeRes and the twelve baselines", arms, "onetrans", "frappe_x1")


# The paper's ablation table as expressions, each of which makes a residual.
ABLATIONS = [
    "Identity()",
    'Gated(Identity(), DepthAttention(activation="silu"))',
    'DepthAttention(activation="softmax")',
    'DepthAttention(activation="silu")',
    'Gated(Identity(), DepthAttention(activation="silu"), gate=None)',
    'Gated(Identity(), DepthAttention(activation="silu"), gate="scalar")',
    'Gated(Identity(), DepthAttention(activation="silu"), gate="dynamic")',
    'Gated(Identity(), DepthAttention(activation="softmax"))',
    'Gated(LearnableResidual(), DepthAttention(activation="silu"))',
    'Gated(LearnableResidual(diagonal=True), DepthAttention(activation="silu"))',
    'Gated(Identity(), DepthAttention(2, activation="silu"))',
    'Gated(Identity(), DepthAttention(4, activation="silu"))',
    "ManifoldHyperConnection()",
    "HyperConnection()",
    "DepthWeighted()",
]


def ablation():
    """The ablations of DeRes on one backbone, OneTrans, at the granularity of layers."""
    arms = [
        Arm(expression, "onetrans", {"residual": eval(expression, {}, vars(residuals))})
        for expression in ABLATIONS
    ]
    return Study("Ablation of DeRes", arms, ABLATIONS[0], "synthetic", GENERATED, "short_synthetic")


DEPTHS = (2, 4, 8, 16)
WIDTHS = (16, 64)


def scaling():
    """DeRes and OneTrans over depth at one width, and over width at one depth."""
    sizes = [(depth, 32) for depth in DEPTHS] + [(4, width) for width in WIDTHS]
    arms = [
        Arm(f"{model} {depth}x{width}", model, {"num_layers": depth, "token_dim": width})
        for depth, width in sizes
        for model in ("onetrans", "deres")
    ]

    def reference(name):
        return "onetrans " + name.split()[1]

    return Study("Scaling", arms, reference, "synthetic", MORE_GENERATED, "short_synthetic")


def history():
    """Sequence models with the behaviour histories of the data, and without them."""
    arms = [
        Arm(f"{model}{'' if with_it else ' without history'}", model, history=with_it)
        for model in ("onetrans", "hstu", "deres")
        for with_it in (True, False)
    ]

    def reference(name):
        return f"{name} without history" if "without" not in name else name

    return Study(
        "What histories are worth", arms, reference, "movielens_100k", RECENT, "short_history"
    )


SML_MODELS = ("dnn", "wide_deep", "deepfm", "dcnv2", "xdeepfm", "autoint_plus")


def sml():
    """Models with the tower of Skip Meta Logit, and with a plain one of the same size."""
    arms = [
        Arm(f"{model}{suffix}", model, config)
        for model in SML_MODELS
        for suffix, config in (("", {}), (" + SML", {"tower": "sml"}))
    ]
    return Study("What SML adds", arms, lambda name: name.split()[0], "frappe_x1")


# Towers of the study `sml_parts`, each of which makes a layer. The first is that of BARS.
SML_PARTS = [
    "MLP([400] * 3, dropout=0.2, batch_norm=True)",
    "MLP([400] * 3, dropout=0.2)",
    "SkipMetaLogit([400] * 3, dropout=0.2, linear=True)",
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, mtn_position="hidden")',
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, mtn_position="logit")',
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, norm=Activation("tanh"))',
    "SkipMetaLogit([400] * 3, dropout=0.2, linear=True, norm=Identity())",
]


def sml_parts():
    """The parts of SML and the places of its norm, in a DNN trained to the end."""
    known = vars(layers) | {name: vars(keras.layers)[name] for name in ("Activation", "Identity")}
    arms = [Arm(towers, "dnn", {"tower": eval(towers, {}, known)}) for towers in SML_PARTS]
    return Study("The parts of SML", arms, SML_PARTS[1], "frappe_x1", recipe="bars")


def rows():
    """Tables trained by rows, each seen in some batches only, and whole tables in every step.

    Without L2, which only whole tables have exactly, and with it.
    """
    arms = [
        Arm(
            f"{model}{suffix} {choice}",
            model,
            recipe={"table_optimizer": choice, "table_l2": l2, "epochs": 5},
        )
        for model, suffix, l2 in (("dnn", "", 0.0), ("deepfm", "", 0.0), ("deepfm", " L2", 0.01))
        for choice in ("dense", "rows")
    ]

    def reference(name):
        return name.rsplit(" ", 1)[0] + " dense"

    return Study("Rows or whole tables", arms, reference, "frappe_x1")


STUDIES = {
    "baselines": baselines,
    "ablation": ablation,
    "scaling": scaling,
    "history": history,
    "sml": sml,
    "sml_parts": sml_parts,
    "rows": rows,
}


def names():
    """Returns the names of all studies."""
    return list(STUDIES)


def get(name):
    """Returns the `Study` of this name."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return STUDIES[name]()


def run(study, results, *args, **options):
    """Runs what is missing of a study, a `Study` or one of `names()`: see `runs.run`."""
    return runs.run(_study(study), results, *args, **options)


def summary(study, rows):
    """Returns a dict per arm that was run, of a study or one of `names()`: see `runs.summary`."""
    return runs.summary(_study(study), rows)


def _study(study):
    return get(study) if isinstance(study, str) else study
