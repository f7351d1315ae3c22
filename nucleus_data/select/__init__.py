"""Deciding: rules over signals, then the duplicate walk; the result is the ledger, every record in one state."""
