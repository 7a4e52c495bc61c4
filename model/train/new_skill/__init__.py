"""New skills: few-shot learning of a user-defined task on the frozen backbone and backpack."""
