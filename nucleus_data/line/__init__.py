"""The line from a source to the report: the recipe, and its stages in their order."""
