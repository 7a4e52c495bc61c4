import pytest
import torch

from model.nn.multitask import MultiTaskModel
from model.tasks import TASKS
from model.train.methods.translation import TranslatedTask, Translator
from tests.support.factories import NUM_LABELS, TINY, make_inputs


def translated(task, *, shared):
    torch.manual_seed(0)
    if shared:
        model = MultiTaskModel(TINY, [TASKS[t] for t in TASKS if t != task], NUM_LABELS)
        models = dict.fromkeys(model.specs, model)
    else:
        models = {t: MultiTaskModel(TINY, [TASKS[t]], NUM_LABELS) for t in TASKS}
    translator = Translator(TINY.hidden_size, TASKS[task], list(models), NUM_LABELS)
    return TranslatedTask(translator, {s: m.eval() for s, m in models.items()}).eval(), models


@pytest.mark.parametrize("task", TASKS)
def test_answers_have_the_shape_of_the_task(task):
    model, _ = translated(task, shared=False)
    shapes = {n: tuple(v.shape) for n, v in model(make_inputs(graphs=3)[task]).items()}
    expected = {
        "ar": {"verb": (3, 1, 5), "noun": (3, 1, 4)},
        "lta": {"verb": (3, 20, 5), "noun": (3, 20, 4)},
        "oscc": {"state": (3, 1, 2)},
        "pnr": {"keyframe": (3, 16, 1)},
    }
    assert shapes == expected[task]


@pytest.mark.slow(2)
def test_a_shared_model_runs_once_and_single_models_once_each():
    for shared, passes in ((True, 1), (False, 4)):
        model, models = translated("ar", shared=shared)
        model(make_inputs()["ar"])
        assert sum(m.backbone.passes for m in set(models.values())) == passes


def test_a_graph_is_translated_the_same_alone_and_among_strangers():
    model, _ = translated("pnr", shared=True)
    inputs = make_inputs(graphs=5)["pnr"]
    together, alone = model(inputs)["keyframe"][2:3], model(inputs[2:3])["keyframe"]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_only_the_translator_is_trained_and_saved():
    model, models = translated("oscc", shared=False)
    sum(v.sum() for v in model(make_inputs()["oscc"]).values()).backward()
    assert all(name.startswith("translator.") for name in model.state_dict())
    assert all(p.grad is None for m in models.values() for p in m.parameters())
    assert model.translator.queries.grad is not None
