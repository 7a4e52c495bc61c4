"""Thin endpoints, a file for each kind: parse, call the engine, answer."""
