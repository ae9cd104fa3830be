"""What an e-mail address and a password must be. Pure.

Length counts, as NIST SP 800-63B has it, and not being among the first guesses; there are no rules about
kinds of characters.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL: Final = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_DISTINCT_MIN: Final = 5
_LOCAL_PART_MIN: Final = 4
"""A shorter local part is in many good passwords."""
_WORDS: Final = """
    0123456789 0987654321 1029384756 1122334455 1234512345 123456123456 1234567890 12345678900
    1234567891 12345678910 123456789a 123456789abc 123456789q 1234qwerasdf 123qwe123qwe 1472583690
    1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 7894561230 9876543210 a123456789 a1b2c3d4e5 aa123456789
    abc123456789 abcd123456 abcd1234567 abcdef123456 abcdefghij abcdefghijk abcdefghijklmnop admin123456
    admin1234567 adminadmin administrator alexandria asdf1234asdf asdfghjkl1 asdfghjkl123 asdfghjkl;
    asdfghjklqwerty asdfqwer1234 barcelona1 basketball basketball1 bismillah1 butterfly1 california
    changeme12 changeme123 changeme1234 changemenow charlotte1 chocolate1 christopher computer123
    computer1234 correcthorsebatterystaple deeplearning default123 default1234 dragon123456 elizabeth1
    football123 football1234 hello12345 hello123456 helloworld helloworld1 iloveyou12 iloveyou123
    iloveyou1234 iloveyousomuch internet123 jennifer123 jordan123456 letmein123 letmein1234 letmeinnow
    liverpool1 liverpool123 login12345 machinelearning manchester manchester1 manutd1234 master1234
    master12345 michael123 michelle123 minecraft1 minecraft123 modelrocket monkey1234 monkey12345
    mynameis123 mypassword mypassword1 newpassword nopassword p@55w0rd123 p@ssw0rd12 p@ssw0rd123
    p@ssw0rd1234 p@ssword12 p@ssword123 pa55word123 pass123456 pass1234567 passw0rd12 passw0rd123
    passw0rd1234 password00 password01 password10 password11 password12 password123 password123!
    password1234 password12345 password123456 password2020 password2021 password2022 password2023
    password2024 password2025 password2026 password21 password22 password99 passwordpassword passwort123
    passwort1234 pokemon123 princess12 princess123 q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedc1 qazwsxedc123
    qazwsxedcrfv qwe123qwe123 qweasdzxc1 qweasdzxc123 qwer123456 qwer12345678 qwerasdfzxcv qwerty1234
    qwerty12345 qwerty123456 qwertyuiop qwertyuiop1 qwertyuiop12 qwertyuiop123 qwertyuiop[]
    qwertyuiopasdf qwertyuiopasdfghjkl qwertzuiop rockyou123 secret1234 secret12345 secretpassword
    spiderman1 spiderman123 starwars12 starwars123 sunshine12 sunshine123 superman12 superman123
    test123456 test1234567 testpassword testtest12 testtest123 trustno1234 unbelievable user123456
    welcome123 welcome1234 welcome12345 welcome2024 welcome2025 welcome2026 whatever12 whatever123
    zaq12wsxcde3 zaqwsxcde1 zxcvbnm,./ zxcvbnm123 zxcvbnm1234 zxcvbnmasdfghjkl
"""
_FIRST_GUESSES: Final = frozenset(_WORDS.split())
"""Those of the usual lists that are long enough to pass otherwise."""


def read_email(text: str) -> str:
    """In lower case. Raises InvalidRequest."""
    email = text.strip().lower()
    if len(email) > limits.EMAIL_LENGTH_MAX or _EMAIL.fullmatch(email) is None:
        raise InvalidRequest("email: this is no e-mail address, like ada@example.org")
    return email


def normalised(password: str) -> str:
    """The same for however a keyboard composes it (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *, email: str) -> None:
    """Raises InvalidRequest, saying what would be better. It never repeats the password."""
    text = normalised(password).lower()
    local_part = email.partition("@")[0]
    if len(text) < limits.PASSWORD_LENGTH_MIN:
        raise InvalidRequest(f"password: at least {limits.PASSWORD_LENGTH_MIN} characters expected")
    if len(text) > limits.PASSWORD_LENGTH_MAX:
        raise InvalidRequest(f"password: at most {limits.PASSWORD_LENGTH_MAX} characters expected")
    if len(set(text)) < _DISTINCT_MIN or text in _FIRST_GUESSES or _is_sequence(text):
        raise InvalidRequest("password: this is one of the first that anybody would guess. Take another one.")
    if len(local_part) >= _LOCAL_PART_MIN and local_part in text:
        raise InvalidRequest("password: it has your e-mail address in it. Take another one.")


def _is_sequence(text: str) -> bool:
    """Whether each character follows the one before it, up or down."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return steps in ({1}, {-1})
