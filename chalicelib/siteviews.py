"""How the site looks as JSON. Fields are listed one by one: nothing leaves by accident."""

from __future__ import annotations

import msgspec

from chalicelib import __version__, site
from chalicelib.settings import Settings, SignUpMode

_NAME = "ModelRocket"


class Demo(msgspec.Struct, frozen=True):
    """A model that everybody may try: POST what it takes to `url`, with this token.

    Attributes:
        name: of the model.
        token: runs this model and nothing else, at a rate of its own that all who try it share.
        input: the name of its one input.
        shape: of that; null where any size goes.
    """

    model_id: str
    name: str
    token: str
    input: str
    shape: list[int | None]
    url: str

    @property
    def id(self) -> str:
        """By which the audit log knows it."""
        return self.model_id


class Site(msgspec.Struct, frozen=True):
    """What everybody may know of this deployment.

    Attributes:
        sign_up: who may make an account for oneself: anybody, nobody, or whoever comes first.
        sign_up_open: whoever signs up now is let in.
        demo: a model to try without a key; null where there is none.
    """

    name: str
    version: str
    sign_up: SignUpMode
    sign_up_open: bool
    demo: Demo | None


def shown(told: site.Told, settings: Settings) -> Site:
    return Site(
        name=_NAME,
        version=__version__,
        sign_up=settings.sign_up,
        sign_up_open=told.sign_up_open,
        demo=None if told.demo is None else _demo(told.demo, settings),
    )


def _demo(demo: site.Demo, settings: Settings) -> Demo:
    return Demo(
        model_id=demo.model.id,
        name=demo.model.name,
        token=demo.secret,
        input=demo.takes.name,
        shape=list(demo.takes.shape),
        url=f"{settings.public_url}/inference",
    )
