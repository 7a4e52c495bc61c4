from dataclasses import replace

import pytest

from model.data.task_file import KINDS, TaskFile, read_task
from model.errors import TaskInvalid
from model.tasks import AR, LTA, OSCC, PNR


def task_of(tmp_path, text: str) -> TaskFile:
    path = tmp_path / "task.toml"
    path.write_text(text, "utf-8")
    return read_task(path)


@pytest.mark.parametrize(
    ("kind", "row"), [("segment", AR), ("graph", OSCC), ("localise", PNR), ("forecast", LTA)]
)
def test_without_further_keys_a_kind_is_the_row_of_its_built_in_task(tmp_path, kind, row):
    task = task_of(tmp_path, f'name = "mine"\nkind = "{kind}"')
    assert task.spec == replace(row, name="mine", outputs=("mine",))
    assert task.kind in KINDS


def test_every_key_reaches_the_row(tmp_path):
    task = task_of(
        tmp_path,
        """name = "next-tool"
kind = "forecast"
labels = ["knife", "größe, klein"]
observed = 3
future = 4
reach = 2.5
epochs = 7
learning_rate = 1e-3
batch_size = 5""",
    )
    spec = task.spec
    assert (spec.num_segments, spec.num_nodes, spec.num_future, spec.reach) == (3, 7, 4, 2.5)
    assert task.labels == ("knife", "größe, klein")
    fit = task.fit_for(100)
    assert (fit.epochs, fit.learning_rate, fit.batch_size) == (7, 1e-3, 5)


@pytest.mark.parametrize("num_samples", [1, 13, 33, 1353, 100_000])
def test_few_labels_are_passed_over_until_there_are_steps_enough(tmp_path, num_samples):
    fit = task_of(tmp_path, 'name = "mine"\nkind = "segment"').fit_for(num_samples)
    assert fit.epochs >= 30
    assert fit.epochs * -(-num_samples // fit.batch_size) >= 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "segment"', ["name", "missing"]),
        ('name = "mine"', ["kind", "missing", "segment, graph, localise, forecast"]),
        ('name = "mine"\nkind = "graphs"', ["kind", "'graphs'", "localise"]),
        ('name = "mine"\nkind = ["segment"]', ["kind"]),
        ('name = "Mine"\nkind = "segment"', ["name", "'Mine'", "a-z"]),
        ('name = "a/b"\nkind = "segment"', ["name", "'a/b'"]),
        ('name = "a.b"\nkind = "segment"', ["name"]),
        ('name = 3\nkind = "segment"', ["name", "3"]),
        ('name = "lta"\nkind = "segment"', ["name", "'lta'"]),
        ('name = "verb"\nkind = "segment"', ["name", "'verb'"]),
        ('name = "own"\nkind = "segment"', ["name", "'own'"]),
        ('name = "keys"\nkind = "segment"', ["name", "'keys'"]),
        ('name = "training"\nkind = "segment"', ["name", "'training'"]),
        ('name = "m"\nkind = "segment"\nparts = 3', ["parts", "segment", "nodes"]),
        ('name = "m"\nkind = "graph"\nnodes = 3', ["nodes", "graph", "parts"]),
        ('name = "m"\nkind = "localise"\nlabels = ["a", "b"]', ["labels", "localise"]),
        ('name = "m"\nkind = "segment"\nnodes = 4', ["nodes", "odd", "4"]),
        ('name = "m"\nkind = "segment"\nnodes = 0', ["nodes", "1 to 256"]),
        ('name = "m"\nkind = "segment"\nnodes = true', ["nodes", "True"]),
        ('name = "m"\nkind = "localise"\nnodes = 1', ["nodes", "2"]),
        ('name = "m"\nkind = "graph"\nreach = -1', ["reach", "-1"]),
        ('name = "m"\nkind = "graph"\nreach = nan', ["reach", "nan"]),
        ('name = "m"\nkind = "graph"\nlearning_rate = "fast"', ["learning_rate", "'fast'"]),
        ('name = "m"\nkind = "graph"\nlabels = ["a"]', ["labels", "at least 2"]),
        ('name = "m"\nkind = "graph"\nlabels = ["a", "a"]', ["labels"]),
        ('name = "m"\nkind = "graph"\nlabels = "a"', ["labels"]),
        ('name = "m"\nkind = "graph"\nlabels = [["a"], ["b"]]', ["labels"]),
        ('name = "m', ["not TOML"]),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(tmp_path, text, words):
    with pytest.raises(TaskInvalid) as caught:
        task_of(tmp_path, text)
    assert all(word in str(caught.value) for word in ["task.toml", *words]), caught.value


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TaskInvalid, match=r"nowhere\.toml"):
        read_task(tmp_path / "nowhere.toml")
