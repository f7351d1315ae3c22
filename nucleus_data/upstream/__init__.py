"""Files of others: their lines, rows and columns, each read alone whatever is wrong with another.

What is made of them is the business of those who read them: lists of pictures, imported captions.
"""
