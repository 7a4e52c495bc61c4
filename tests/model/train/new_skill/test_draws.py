import pytest

from model.data.task_file import read_task
from model.train.new_skill.command import read_skill_data
from model.train.new_skill.draws import Contest, RowCache
from model.train.new_skill.few_labels import classes_of
from model.train.new_skill.options import parse_options
from tests.support.own_tasks import write_labels, write_task


@pytest.fixture(scope="module")
def contests(folder):
    """Two tasks that ask about the same segments, with one cache of rows."""
    cache, made = RowCache(), []
    for name in ("mood", "mood"):
        task = write_task(folder, name)
        options = parse_options([
            "--learn", str(task), "--labels", str(write_labels(folder, name)),
            "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        ])  # fmt: skip
        made.append(Contest.of(read_skill_data(read_task(task), options, folder), cache))
    return made


def test_tasks_about_the_same_segments_share_their_rows(contests):
    one, other = contests
    assert all(one.rows[split] is other.rows[split] for split in ("train", "val", "test"))


def test_a_draw_has_as_many_of_each_class_and_depends_on_its_seed_alone(contests):
    contest = contests[0]
    classes = classes_of(contest.data.samples["train"])
    assert classes[contest.draw(3, 0)].bincount().tolist() == [3, 3]
    assert contest.draw(3, 0).tolist() == contest.draw(3, 0).tolist() != contest.draw(3, 1).tolist()
    assert set(contest.draw(2, 0).tolist()) < set(contest.draw(3, 0).tolist())
    assert len(contest.draw(100, 0)) == len(classes)


def test_right_answers_are_counted_by_video(contests):
    contest = contests[0]
    forms = dict(contest.closed_forms(contest.draw(3, 0), 0))
    assert list(forms)[:2] == ["auto", "head"]
    for right in forms.values():
        assert contest.videos("val") == {"c": 9}
        assert 0 <= right["val"][0] <= 9
    learner = contest.by_interaction(contest.draw(3, 0), 0)
    assert len(learner["test"]) == 1
