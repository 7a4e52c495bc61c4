import json

import httpx

import clients.__main__ as command


def test_choices_reach_the_server(replies, clip_path, answer):
    def handler(request):
        body = request.read()
        choices = json.loads(body[body.index(b"{") : body.index(b"}") + 1])
        assert choices == {"tasks": ["ar", "lta"], "segments": [[0, 8], [8, 16]], "seed": 3}
        return httpx.Response(200, json=answer)

    replies(handler)
    flags = ["--task", "ar", "--task", "lta", "--segment", "0", "8", "--segment", "8", "16"]
    assert command.main(["predict", str(clip_path), *flags, "--seed", "3"]) == 0
