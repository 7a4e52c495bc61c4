"""Endpoints, a file per resource: parse the request, call the engine, respond."""
