import json

import pytest

import clients.__main__ as command
from tests.clients.support.teaching import REPORT, TeachingServer

LABELS = "video,start_s,end_s,label\na,0,2,left\na,2,4,right\n"


@pytest.fixture
def words(tmp_path):
    (tmp_path / "task.toml").write_text('name = "hand"\nkind = "segment"\n')
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "a.mp4").write_bytes(b"film")
    return ["teach", str(tmp_path / "task.toml"), str(tmp_path / "labels.csv")]


def test_a_skill_is_taught_and_its_report_is_told(replies, words, tmp_path, capsys):
    server = TeachingServer()
    replies(server)
    assert command.main([*words, "--videos", str(tmp_path), "--none", "right"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "hand, version 3, from 20 labels: left 10, right 10",
        REPORT["words"],
        "With 30 labels it would likely be right in 0.920 [0.700, 0.980].",
        "right: 9 of 10 are found; 1 of 10 others are taken for it.",
        "voters: own 0.70",
        "A note.",
        "It is not served yet; --activate, or EgoPackClient.activate, does that.",
    ]
    assert server.sent == {"a": b"film"}
    assert server.taught[0]["none_label"] == "right"
    assert command.main([*words, "--activate", "--threshold", "0.7", "--method", "head"]) == 0
    assert "ask with --task hand" in capsys.readouterr().out
    assert server.uploads == ["a"]  # it is kept
    more = {key: server.taught[1][key] for key in ("activate", "threshold", "method")}
    assert more == {"activate": True, "threshold": 0.7, "method": "head"}


def test_the_report_is_printed_as_json(replies, words, capsys):
    replies(TeachingServer(kept=["a"]))
    assert command.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in ("name", "version", "confusion", "none")} == {
        key: REPORT[key] for key in ("name", "version", "confusion", "none")
    }


def test_the_exit_status_says_whose_fault_it_is(replies, words, capsys):
    errors = [{"pointer": "line 2", "detail": "column end_s: expected seconds"}]
    replies(TeachingServer(kept=["a"], refuses=errors))
    assert command.main(words) == 3
    assert "line 2: column end_s: expected seconds" in capsys.readouterr().err
    replies(TeachingServer())
    assert command.main(words) == 2
    assert "keeps no clip named 'a'" in capsys.readouterr().err
    assert command.main([*words, "--threshold", "0.5"]) == 2
    assert "it needs --activate" in capsys.readouterr().err
