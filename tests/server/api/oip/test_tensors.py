import numpy as np

from tests.server.api.oip.protocol import arrays, infer, video
from tests.server.support.fakes import clip


def test_every_output_promised_is_given_in_its_shape(served):
    promised = served.http.get("/v2/models/fake").json()["outputs"]
    found = arrays(infer(served, video(), parameters={"segment_s": 2}))
    assert set(found) == {tensor["name"] for tensor in promised}
    for tensor in promised:
        shape = tuple(4 if size == -1 else size for size in tensor["shape"])
        assert found[tensor["name"]].shape == shape


def test_tensors_hold_what_the_other_door_says(served):
    found = arrays(infer(served, video(), parameters={"segment_s": 4, "seed": 3}))
    answer = served.post(clip(240, 51), segment_s=4, seed=3, top_k=100).json()
    for index, segment in enumerate(answer["segments"]):
        assert found["segments"][index].tolist() == [segment["start_s"], segment["end_s"]]
        assert found["pnr.scores"][index].tolist() == [
            np.float32(s) for s in segment["pnr"]["scores"]
        ]
        assert found["pnr.time_s"][index] == segment["pnr"]["time_s"]
        assert found["oscc.state_change"][index] == np.float32(segment["oscc"]["probability"])
        for space in ("verb", "noun"):
            for label in segment["ar"][space]:
                probability = found[f"ar.{space}"][index, label["id"]]
                assert probability == np.float32(label["probability"])
    futures = [[[step["verb"], step["noun"]] for step in f] for f in answer["lta"]["hypotheses"]]
    assert found["lta.hypotheses"].tolist() == futures
