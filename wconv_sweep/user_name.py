"""The name of the user of this process, also where the machine has none for it."""

import os
import pwd
from collections.abc import Mapping


def user_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return the login name; in a container without an entry for the user, what the shell says.

    Args:
        environment: LOGNAME and USER in it come after the machine's own entry.
    """
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return environment.get("LOGNAME") or environment.get("USER") or str(uid)
