"""The registries of the scope ``adamae``; importing this makes sure they are there."""

import projects.adamae.registry  # noqa: F401
