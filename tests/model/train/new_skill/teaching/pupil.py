"""Stands in for the process that learns, `python -m model.train.new_skill.teaching DIR`.

What it does is the request's `do`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
request = json.loads((folder / "request.json").read_text())
match request["do"]:
    case "learn":
        (folder / "result").mkdir()
        facts = {"nice": os.nice(0), "environment": sorted(os.environ)}
        (folder / "result" / "facts.json").write_text(json.dumps(facts))
    case "refuse":
        errors = [{"pointer": "/labels/3/end_s", "message": "too late"}]
        (folder / "error.json").write_text(json.dumps({"errors": errors}))
        sys.exit(2)
    case "hang":
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    case "eat":
        eaten = [bytearray(64 << 20) for _ in range(64)]
    case "die":
        os.kill(os.getpid(), signal.SIGKILL)
    case "fail":
        raise RuntimeError("secret of the pupil")
