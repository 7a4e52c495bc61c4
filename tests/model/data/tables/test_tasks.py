"""Columns become tasks: what is called how, what is AR's, what a backpack's rows are of."""

import pytest
from torch import nn

from model.data.tables.tasks import MAX_NAME, name_outputs, tasks_of, with_names
from model.errors import AnnotationInvalid
from model.tasks import AR, LTA, Readout
from tests.model.support.tables import table_of


def table_with(*outputs, names=("one", "two")):
    rows = [("v", t, t + 1, *[name] * len(outputs)) for t, name in enumerate(names)]
    return table_of(*rows, outputs=outputs)


def test_columns_are_called_as_a_task_and_a_layer_can_be():
    columns = ["verb", "Noun", "Which hand?", "Tätigkeit", "has_errors", "type", "state", "ar",
               "2nd", "動作", "Hand", "hand", "x" * 50]  # fmt: skip
    names = name_outputs(columns)
    assert list(names.values())[:-1] == [
        "verb", "noun", "which-hand", "tatigkeit", "has_errors", "type-label", "state-label",
        "ar-label", "column-2nd", "column-10", "hand", "hand-2",
    ]  # fmt: skip
    assert len(names["x" * 50]) == MAX_NAME
    nn.ModuleDict({name: nn.Identity() for name in names.values()})


def test_verb_and_noun_are_ars_and_ltas_and_every_other_column_is_a_task():
    table = table_with("verb", "Noun", "hand")
    table = with_names(table, name_outputs(table.outputs))
    tasks = tasks_of(table)
    assert tasks.names == ("ar", "lta", "hand")
    assert (tasks.specs["ar"], tasks.specs["lta"]) == (AR, LTA)
    hand = tasks.specs["hand"]
    assert (hand.outputs, hand.readout, hand.num_nodes) == (("hand",), Readout.CENTRE, 9)
    assert tasks.prototypes == ("verb", "noun")
    assert tasks.forecast == "lta"
    assert tasks_of(table, ["hand", "verb"]).prototypes == ("hand", "verb")
    assert tasks.only(["hand", "ar"]).names == ("ar", "hand")


def test_without_both_the_forecast_is_of_the_one_output_of_the_rows():
    alone = tasks_of(table_with("step"))
    assert alone.names == ("step", "next-step")
    assert alone.specs["next-step"].outputs == ("step",)
    assert alone.prototypes == ("step",)
    assert tasks_of(table_with("verb", "step"), ["step"]).names == ("verb", "step", "next-step")
    beside = tasks_of(table_with("step", "next-step"), ["step"])
    assert beside.names == ("step", "next-step", "next-step-2")
    several = tasks_of(table_with("goal", "step"), ["goal", "step"])
    assert several.names == ("goal", "step")
    assert several.forecast is None


@pytest.mark.parametrize(
    ("table", "prototypes", "said"),
    [
        (table_with("verb", "noun", names=("one", "one")), None, "all labels of verb are 'one'"),
        (table_with("goal", "step"), None, "such as --prototypes goal"),
        (table_with("verb", "noun"), ["tool"], "has labels of verb, noun"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(table, prototypes, said):
    with pytest.raises(AnnotationInvalid, match=said):
        tasks_of(table, prototypes)


def test_a_task_that_is_not_there_is_refused():
    with pytest.raises(AnnotationInvalid, match="--tasks oscc: the tasks of this table are verb"):
        tasks_of(table_with("verb")).only(["oscc"])
