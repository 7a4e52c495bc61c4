"""Every speed figure we quote, measured side by side."""
