"""Tables of labelled segments: data sets by name, their splits, their rare labels."""
