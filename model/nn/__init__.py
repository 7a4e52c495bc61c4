"""The paper's equations, a layer a file."""
