"""What a wheel has beside the packages: recipes and pipelines, inside `nucleus_data`.

In site-packages, names as common as `configs` and `pipelines` are not ours to take. An editable
install has them beside the package, as the clone has, and needs no copy.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = ("configs", "pipelines")


class Inside(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Puts the folders into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds them, unless the install is an editable one."""
        if version != "editable":
            build_data["force_include"] |= {name: f"nucleus_data/{name}" for name in INSIDE}
