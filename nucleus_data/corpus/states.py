"""The states of records in the table `selection`: each record ends in exactly one."""

KEPT, REJECTED, DUPLICATE, FAILED, PENDING = "kept", "rejected", "duplicate", "failed", "pending"
STATES = (KEPT, REJECTED, DUPLICATE, FAILED, PENDING)
# Stages that work on what is kept also take what waits for one of their tables.
WORKED_ON = (KEPT, PENDING)
