"""Holds the model to a real server."""
import argparse
def add_arguments(parser): pass
def run(arguments): return {}
def table(figures): return ""
