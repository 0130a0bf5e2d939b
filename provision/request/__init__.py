"""A customer's request: its text (parse.py) and its meaning (model.py)."""
