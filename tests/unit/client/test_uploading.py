"""What an upload that is refused advises is said in the command line's own words."""

from __future__ import annotations

import pytest

from modelrocket.commands.uploading import for_the_shell
from modelrocket.errors import ConversionError


@pytest.mark.parametrize(
    ("message", "hint", "options"),
    [
        ("This needs input_type and input_shape.", "Or: sample=X", "--input-type, --input-shape, --sample"),
        ("It answers differently.", "allow_mismatch=True uploads it", "--allow-mismatch"),
        ("It took too long.", "Give it more time, convert_seconds=…", "--convert-seconds"),
    ],
)
def test_arguments_are_named_as_options(message: str, hint: str, options: str) -> None:
    told = for_the_shell(ConversionError(message, hint=hint))
    assert str(told) == f"{message}\n{hint}\nOn the command line: {options}"


def test_what_names_no_argument_stays_as_it_is() -> None:
    error = ConversionError("Conv has no kernel.", hint="Try another.")
    assert for_the_shell(error) is error
