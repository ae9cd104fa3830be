"""What `modelrocket` can do: a module for each group of commands, which make one call and say what came.

Importing them loads neither rich nor numpy nor a framework: what a command needs is imported when it runs.
"""

from modelrocket.commands import checking, completing, deployed, predicting, session, uploading, watching
from modelrocket.commands.interface import Command

COMMANDS: tuple[Command, ...] = (
    *session.COMMANDS,
    *uploading.COMMANDS,
    *predicting.COMMANDS,
    *deployed.COMMANDS,
    *watching.COMMANDS,
    *checking.COMMANDS,
    *completing.COMMANDS,
)
GROUPS = {"token": "make tokens for calling a model"}
"""First words of commands of two words, with what they are about."""
