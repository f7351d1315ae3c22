"""What a person submits: one thin module for each line of stages."""
