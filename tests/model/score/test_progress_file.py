import pytest

from model.errors import ScoringRefused
from model.score.progress_file import ProgressFile

HEADER = {"task": "oscc", "seed": 0}
ANSWERS = {"a": True, "b_7": {"verb": [[1, 2]]}, "c é\n": 30.5, "d": False}


def write(path, answers, header=HEADER):
    with ProgressFile(path, header) as part:
        part.add(answers)


def test_answers_come_back(tmp_path):
    path = tmp_path / "new" / "part.jsonl"
    write(path, ANSWERS)
    with ProgressFile(path, HEADER) as part:
        assert part.answers == ANSWERS
        assert not part.changed


def test_a_file_cut_off_at_any_byte_goes_on_to_the_same_bytes(tmp_path):
    path = tmp_path / "part.jsonl"
    write(path, ANSWERS)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with ProgressFile(path, HEADER) as part:
            kept = dict(part.answers)
            part.add(ANSWERS)
        assert list(kept.items()) == list(ANSWERS.items())[: max(0, whole[:cut].count(b"\n") - 1)]
        assert path.read_bytes() == whole


@pytest.mark.parametrize("junk", [b"\0\0\0\n", b"[1]\n", b'{"a": 1}\n', b'["d", \n', b"\xff\n"])
def test_what_follows_a_spoilt_line_is_forgotten(tmp_path, junk):
    path = tmp_path / "part.jsonl"
    write(path, {"a": 1})
    path.write_bytes(path.read_bytes() + junk + b'["z",1]\n')
    with ProgressFile(path, HEADER) as part:
        assert part.answers == {"a": 1}
        part.add({"b": 2})
    with ProgressFile(path, HEADER) as part:
        assert part.answers == {"a": 1, "b": 2}


def test_an_answer_once_given_stays(tmp_path):
    path = tmp_path / "part.jsonl"
    write(path, {"a": 1})
    write(path, {"a": 2, "b": 3})
    with ProgressFile(path, HEADER) as part:
        assert part.answers == {"a": 1, "b": 3}


def test_another_header_starts_over_and_says_what_changed(tmp_path):
    path = tmp_path / "part.jsonl"
    write(path, ANSWERS)
    with ProgressFile(path, HEADER | {"seed": 1}) as part:
        assert part.answers == {}
        assert part.changed == ["seed"]
    with ProgressFile(path, HEADER | {"seed": 1}) as part:
        assert not part.changed


def test_two_runs_never_write_one_file(tmp_path):
    path = tmp_path / "part.jsonl"
    with ProgressFile(path, HEADER), pytest.raises(ScoringRefused, match="another run"):
        ProgressFile(path, HEADER)
    write(path, ANSWERS)  # the first is done: the file is free again
