"""The command `nucleus` whose captions are a stand-in's, at a pace, for kills.

    python -m tests.support.captions.killed caption corpus=C

What it says is a hash of the picture's pixels and the question, so that another picture's caption
is seen as such. Each request of the run is a line in the file that `CAPTIONS_ASKED` names.
"""

import hashlib
import os

from nucleus_data.stages.caption import stage as module

ASKED = "CAPTIONS_ASKED"
PACE_S = 0.02


def said(picture, question):
    """What the stand-in says of a picture."""
    found = hashlib.sha256(question.encode())
    found.update(str(picture.shape).encode() + picture.tobytes())
    return f"A picture of {found.hexdigest()}."


class KilledCaption(module.Caption):
    """The stage with a stand-in for its engine."""

    def setup(self):
        from tests.support.captions.standin import StandIn

        def say(key, picture, ask):
            if not key.startswith("probe/"):
                with open(os.environ[ASKED], "a") as stream:  # noqa: PTH123 - one write a line
                    stream.write(f"{os.getpid()} {key}\n")
            return said(picture, ask.question)

        load = module.load_engine
        module.load_engine = lambda settings: StandIn(settings, pace_s=PACE_S, say=say)
        super().setup()
        module.load_engine = load


def main():
    """Runs a command. Its workers find the class by its name in this module."""
    module.Caption = KilledCaption
    from nucleus_data.commands import main as nucleus

    nucleus()


if __name__ == "__main__":
    from tests.support.captions.killed import main as named  # not `__main__`, as workers import it

    named()
