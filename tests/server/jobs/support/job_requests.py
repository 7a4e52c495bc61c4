"""Jobs as their callers send and follow them."""

import json

from tests.server.support.fakes import clip
from tests.support.waiting import wait_for


def submit(served, body=None, *, options=None, **headers):
    files = {"video": ("x", clip() if body is None else body)}
    if options is not None:
        files["request"] = (None, json.dumps(options), "application/json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return served.http.post(
        "/v1/predictions", files=files, headers={"prefer": "respond-async", **named}
    )


def until_ended(served, job):
    def ended():
        now = served.http.get(job["links"]["self"]).json()
        return None if now["state"] in ("queued", "running") else now

    return wait_for(ended)
