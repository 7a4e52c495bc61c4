"""Jobs as their callers send and follow them."""

import json
import time

from tests.server.support.fakes import clip


def submit(served, body=None, *, options=None, **headers):
    files = {"video": ("x", clip() if body is None else body)}
    if options is not None:
        files["request"] = (None, json.dumps(options), "application/json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return served.http.post(
        "/v1/predictions", files=files, headers={"prefer": "respond-async", **named}
    )


def until_ended(served, job, timeout_s=15):
    until_s = time.monotonic() + timeout_s
    while (now := served.http.get(job["links"]["self"]).json())["state"] in ("queued", "running"):
        assert time.monotonic() < until_s, now
        time.sleep(0.02)
    return now
