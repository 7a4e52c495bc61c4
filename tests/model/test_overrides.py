import pytest

from model.errors import SettingInvalid
from model.overrides import override
from model.presets import PAPER


def test_every_kind_of_field_can_be_set_and_nothing_else_moves():
    changed = override(
        PAPER,
        ["distance=l2", "num_neighbours=8", "pooling_dropout=0.1", "final_linear=true",
         "fit.node_loss=all", "fit.epochs=3", "fit.tune_heads=true"],
    )  # fmt: skip
    model = changed.model
    assert (model.distance, model.num_neighbours, model.pooling_dropout) == ("l2", 8, 0.1)
    assert model.final_linear is True
    assert model.hidden_size == PAPER.model.hidden_size
    for fit in (changed.multitask, changed.translation, *changed.skills.values()):
        assert (fit.node_loss, fit.epochs, fit.tune_heads) == ("all", 3, True)
    rates = {task: fit.learning_rate for task, fit in changed.skills.items()}
    assert rates == {task: fit.learning_rate for task, fit in PAPER.skills.items()}
    assert override(PAPER, []) == PAPER


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("distance", "FIELD=VALUE"),
        ("distance=manhattan", "one of cosine, l2"),
        ("final_linear=1", "one of true, false"),
        ("num_neighbours=many", "expected int, got 'many'"),
        ("fit.learning_rate=fast", "expected float"),
        ("colour=red", "no such field; there are input_size"),
        ("fit.colour=red", "there are fit.epochs"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(setting, said):
    with pytest.raises(SettingInvalid, match=said):
        override(PAPER, [setting])
