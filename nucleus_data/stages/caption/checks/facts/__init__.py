"""The comparisons of the check `contradiction`; each module has `contradicted(text, facts)`."""
