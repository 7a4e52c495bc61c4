import pytest

from model.train.__main__ import main


@pytest.fixture
def world(tmp_path):
    """What tells a tabletop world from a data set, and nothing more."""
    (tmp_path / "world.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("option", [["--preset", "paper"], ["--version", "v1"],
                                    ["--missing", "skip"], ["--missing", "refuse"],
                                    ["--lta-windows", "before-2023-08"]])  # fmt: skip
def test_reproduce_refuses_what_a_world_does_not_have(option, world, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "--data", str(world), *option])
    assert ended.value.code == 2
    assert f"{option[0]}: for data in Ego4D's layout" in capsys.readouterr().err


def test_reproduce_takes_heads_that_learn_where_one_method_has_them(world, capsys, tmp_path):
    """The world has no annotations, which is the next thing to be missed."""
    options = ["--set", "fit.tune_heads=true", "--work", str(tmp_path / "work")]
    assert main(["reproduce", "--data", str(world), *options]) == 2
    said = capsys.readouterr().err
    assert "--set" not in said
    assert "fho_lta_train.json is not there" in said
