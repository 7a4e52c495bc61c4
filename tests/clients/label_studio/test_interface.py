import json

import pytest

from clients.label_studio.interface import Interface
from clients.output import formats as exports
from clients.results.predictions import PredictionResult
from tests.clients.label_studio.studio import ask, backend, kept


@pytest.mark.parametrize("config", ["", "<View/>", '<View><TimelineLabels toName="x"/></View>'])
def test_an_interface_that_cannot_be_filled_is_explained(answer, config):
    with backend(answer, kept) as http:
        response = ask(http, "/data/upload/1.mp4", config=config)
        assert http.post("/setup", json={"schema": config}).status_code == 400
    assert response.status_code == 400
    assert "labelling interface" in response.json()["error"]


def test_an_interface_of_our_own_making_takes_every_answer(answer):
    result = PredictionResult.from_dict(answer)
    interface = Interface.from_config(exports.label_studio_config(result))
    assert interface.key == "video"
    regions = interface.prediction(result)["result"]
    assert regions == exports.to_label_studio(result)[0]["predictions"][0]["result"]
    json.dumps(regions)
