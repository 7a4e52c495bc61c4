import pytest

from model.errors import SettingInvalid
from model.train.options import override
from model.train.presets import PAPER


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
    for fit in (changed.multitask, *changed.translation.values(), *changed.skills.values()):
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
        ("hidden_size=7", "hidden_size: expected an even number, got 7"),
        ("hidden_size=0", "hidden_size: expected at least 2"),
        ("pooling_dropout=1", "pooling_dropout: expected at least 0 and below 1, got 1"),
        ("head_dropout=nan", "head_dropout: expected at least 0"),
        ("num_neighbours=0", "num_neighbours: expected at least 1"),
        ("future_temperature=0", "future_temperature: expected a number above 0"),
        ("fit.epochs=0", "epochs: expected at least 1"),
        ("fit.batch_size=0", "batch_size: expected at least 1"),
        ("fit.learning_rate=inf", "learning_rate: expected a number above 0"),
        ("fit.weight_decay=-1", "weight_decay: expected at least 0"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(setting, said):
    with pytest.raises(SettingInvalid, match=said):
        override(PAPER, [setting])
