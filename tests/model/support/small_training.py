"""Made-up samples and the parts that are trained on them."""

from model.config import FitConfig, Learning
from model.evaluate.calibration import collect_logits
from model.tasks import TASKS
from model.train.datasets.prepared import Prepared
from model.train.presets import on_own_backbones
from tests.support.factories import NUM_LABELS, TINY, make_samples

FIT = FitConfig(epochs=1, learning_rate=1e-2, batch_size=16, warmup_epochs=0.5)
LEARNING = Learning(TINY, FIT, on_own_backbones(FIT), dict.fromkeys(TASKS, FIT))
TRAIN, VAL = make_samples(seed=4), make_samples(seed=9)


def logits_of(models):
    return collect_logits(models, VAL, TINY)[0]


def flat(logits):
    return {f"{t}.{n}": v for t, by in logits.items() for n, v in by.items()}


def prepared():
    labels = {n: [f"{n}{i}" for i in range(NUM_LABELS[n])] for n in ("verb", "noun")}
    return Prepared(
        {"train": TRAIN, "val": VAL}, labels, {"name": "none", "kind": "features"}, {}, "samples",
        "noise", {"licence": "none"},
    )  # fmt: skip
