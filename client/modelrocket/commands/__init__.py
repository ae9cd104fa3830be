"""What `modelrocket` can do: a module for each group of commands, which make one call and say what came.

Importing them loads neither rich nor numpy nor a framework: what a command needs is imported when it runs.
"""

from modelrocket.commands import (
    accounting,
    checking,
    completing,
    deployed,
    fleet,
    keys,
    predicting,
    session,
    uploading,
    watching,
)
from modelrocket.commands.interface import Command

COMMANDS: tuple[Command, ...] = (
    *session.COMMANDS,
    *uploading.COMMANDS,
    *predicting.COMMANDS,
    *deployed.COMMANDS,
    *keys.COMMANDS,
    *watching.COMMANDS,
    *accounting.COMMANDS,
    *fleet.COMMANDS,
    *checking.COMMANDS,
    *completing.COMMANDS,
)
GROUPS = {
    "keys": "look after API keys and model tokens",
    "token": "make tokens for calling a model",
}
"""First words of commands of two words, with what they are about."""
