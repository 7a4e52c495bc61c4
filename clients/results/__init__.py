"""Responses as frozen dataclasses."""
