"""Tracks to typed answers with evidence: what the server and the tools call."""
