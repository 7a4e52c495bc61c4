"""A split with answers, and what is reported of it."""

from model.evaluate.report.exhibits import (
    agreement_exhibits,
    calibration_exhibits,
    class_exhibits,
    closest_exhibits,
)
from model.evaluate.report.page import RunFacts
from model.evaluate.report.results import MeasureConfig, measure
from model.tasks import FIXED_LABELS
from tests.model.support.samples import make_split
from tests.support.factories import NUM_LABELS, TINY, make_skills

HOSTILE = "<script>alert('$x_1$')</script>"
LABELS = {
    "verb": [f"verb{i}" for i in range(NUM_LABELS["verb"])],
    "noun": [HOSTILE, *(f"noun{i}" for i in range(1, NUM_LABELS["noun"]))],
    **FIXED_LABELS,
}
TEMPERATURE = {"ar.verb": 2.0}
FACTS = RunFacts("tiny", "1", "ab" * 32, "a made-up world", "python -m model.evaluate", "video")


def make_exhibits(split, answers):
    skills = make_skills()
    backpacks = {task: skills.backpacks[name] for task, name in skills.backbone_of.items()}
    return [
        *calibration_exhibits(answers, TEMPERATURE),
        *class_exhibits(answers, split, LABELS),
        *agreement_exhibits(answers),
        *closest_exhibits(answers, split, backpacks, LABELS),
    ]


def make_result(split, answers, exhibits=(), **options):
    train = make_split(20, seed=9)
    how = MeasureConfig(TINY, TEMPERATURE, **options)
    return measure("val", answers, split, train, how, list(exhibits))
