"""Deciding: rules over signals, then the duplicate walk.

The result is the ledger: every record in one state.
"""
