"""Settings without caption checks, for an engine that says what it was asked."""

import json

from nucleus_data.stages.caption.checks import KINDS

OFF = {check.name: {"action": "off"} for check in KINDS}
OVERRIDE = f"caption.checks={json.dumps(OFF)}"
