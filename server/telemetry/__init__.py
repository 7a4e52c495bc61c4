"""JSON logs, Prometheus metrics, OpenTelemetry spans."""
