"""Replies of a server that refuses."""

import httpx


def problem(status, code="queue-full", **headers):
    body = {"detail": "why", "code": code, "request_id": "r", "errors": []}
    return httpx.Response(status, json=body, headers=headers)
