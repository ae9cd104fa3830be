"""What the stacks are called, in the order in which they stand on each other."""

from __future__ import annotations

from typing import Final

NAME: Final = "ModelRocket"
STORAGE: Final = f"{NAME}-Storage"
NETWORK: Final = f"{NAME}-Network"
DATA: Final = f"{NAME}-Data"
SETUP: Final = f"{NAME}-Setup"
HOSTS: Final = f"{NAME}-Hosts"
CONTROL_PLANE: Final = f"{NAME}-ControlPlane"
SITE: Final = f"{NAME}-Site"
MONITORING: Final = f"{NAME}-Monitoring"
ALL: Final = (STORAGE, NETWORK, DATA, SETUP, HOSTS, CONTROL_PLANE, SITE, MONITORING)
SETUP_FUNCTION: Final = "Function"
"""The output of Setup that names it."""
SITE_URL: Final = "Url"
SITE_TARGET: Final = "DomainTarget"
"""Those of the site: where it is, and what a name of one's own has to lead to."""
GIVEN: Final = "Given"
"""The output of Setup that says what was given with the deployment, as JSON."""
