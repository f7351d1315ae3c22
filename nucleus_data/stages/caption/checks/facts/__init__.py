"""What the check `contradiction` compares: each module has `contradicted(text, facts)`."""
