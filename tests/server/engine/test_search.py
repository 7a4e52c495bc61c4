from server.schemas.prediction import BackpackMatches
from tests.server.support.fakes import PERSPECTIVES, clip

PATH = "/v1/backpack/search"


def search(served, body, *, kind="video/mp4", **query):
    return served.http.post(PATH, content=body, params=query, headers={"content-type": kind})


def test_a_clips_neighbours_come_a_segment(served):
    response = search(served, clip(240), segment_s=4, top_k=2)
    found = BackpackMatches.model_validate_json(response.text, strict=True)
    assert [(m.start_s, m.end_s) for m in found.matches] == [(0, 4), (4, 8)]
    for match in found.matches:
        assert set(match.perspectives) == set(PERSPECTIVES)
        assert all(len(near) == 2 for near in match.perspectives.values())
    assert found.backbone == "shared"
    assert found.timings.decode_ms >= 0
    assert served.spooled() == []


def test_a_form_and_features_are_searched_for_too(served):
    data = served.http.post(
        "/v1/features", content=clip(240), headers={"content-type": "video/mp4"}
    ).content
    choices = (None, '{"perspectives": ["pnr"]}', "application/json")
    form = served.http.post(PATH, files={"video": ("x", clip(240)), "request": choices}).json()
    raw = search(served, data, kind="application/x-safetensors", perspectives="pnr").json()
    assert form["matches"] == raw["matches"]
    assert set(form["matches"][0]["perspectives"]) == {"pnr"}


def test_an_action_is_searched_for_without_a_clip(served):
    response = served.http.post(PATH, json={"verb": "take", "noun": "cup", "top_k": 1})
    (match,) = response.json()["matches"]
    assert set(match) == {"perspectives"}
    assert match["perspectives"]["oscc"] == [
        {"verb": "take", "noun": "cup", "similarity": 0.9, "count": 3}
    ]
