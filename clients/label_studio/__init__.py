"""What Label Studio calls a machine learning backend: its questions, answered by our server."""
