"""The paper's tables again, on whatever data is at hand."""
