"""Tables, figures and one page of an evaluation."""
