"""Durable jobs: long videos, processed after the request that sent them, across restarts."""
