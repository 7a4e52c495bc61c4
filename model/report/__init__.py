"""What an evaluation shows: tables, figures and one page, made from answers and labels."""
