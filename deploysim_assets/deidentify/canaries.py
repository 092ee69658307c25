"""Seeded canaries: identifiers of every type as people write them, and the containers that they
are planted in."""

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from deploysim_assets.deidentify.rules import IBAN_LENGTHS, iban, luhn

_NAMES = (
    "ann.lee",
    "bob_stone",
    "carla-m",
    "d.oconnor",
    "eve+news",
    "farid.k",
    "greta99",
    "hiro.tanaka",
    "ines",
    "jan.de.vries",
)
_DOMAINS = (
    "lindenhof.de",
    "mail.internal",
    "post.corp",
    "uni-koeln.de",
    "kyoto.ac.jp",
    "kleine-bank.co.uk",
    "haus.museum",
    "firma.biz",
)


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _card(rng: random.Random) -> str:
    length, prefix = rng.choice(
        (
            (16, "4"),
            (16, "5" + rng.choice("12345")),
            (16, "2" + _digits(rng, 0) + "3"),
            (15, "37"),
            (16, "6011"),
        )
    )
    body = prefix + _digits(rng, length - len(prefix) - 1)
    number = next(body + d for d in "0123456789" if luhn(body + d))
    sizes = (4, 6, 5) if length == 15 else (4, 4, 4, 4)
    separator = rng.choice(("", " ", "-", "\u00a0"))
    cuts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return separator.join(number[a:b] for a, b in pairwise(cuts))


def _iban(rng: random.Random) -> str:
    country = rng.choice(("DE", "FR", "ES", "GB", "NL", "CH", "IT", "AT"))
    body = _digits(rng, IBAN_LENGTHS[country] - 4)
    if country == "GB":
        body = "NWBK" + body[4:]
    whole = iban(country, body)
    return (
        whole if rng.random() < 0.5 else " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))
    )


def _phone(rng: random.Random) -> str:
    area, exchange, line = (
        rng.choice(("212", "415", "617", "305")),
        str(rng.randint(220, 989)),
        _digits(rng, 4),
    )
    forms = (
        f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}", f"{area}.{exchange}.{line}",
        f"+1 {area} {exchange} {line}",
        f"+49 30 9{_digits(rng, 6)}", f"+44 20 7946 {_digits(rng, 4)}",
        f"+33 1 42 68 {_digits(rng, 2)} {_digits(rng, 2)}",
        f"+81 3-3{_digits(rng, 3)}-{_digits(rng, 4)}",
        f"+86 138 {_digits(rng, 4)} {_digits(rng, 4)}",
    )  # fmt: skip
    return rng.choice(forms)


def _ip(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ":".join(f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(8))
    return ".".join(str(rng.randint(11, 250)) for _ in range(4))


def _ssn(rng: random.Random) -> str:
    return rng.choice(("-", " ")).join(
        (str(rng.randint(100, 665)), f"{rng.randint(1, 99):02}", f"{rng.randint(1, 9999):04}")
    )


def _key(rng: random.Random) -> str:
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

    def run(count: int) -> str:
        return "".join(rng.choice(letters) for _ in range(count))

    forms = (
        f"sk-{run(40)}",
        f"sk-proj-{run(36)}",
        f"ghp_{run(36)}",
        f"AKIA{run(16).upper()}",
        f"xoxb-{_digits(rng, 11)}-{run(24)}",
        f"hf_{run(34)}",
    )
    return rng.choice(forms)


CANARIES: dict[str, Callable[[random.Random], str]] = {
    "EMAIL_ADDRESS": lambda rng: (
        f"{rng.choice(_NAMES)}{rng.randint(1, 999)}@{rng.choice(_DOMAINS)}"
    ),
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "US_SSN": _ssn,
    "PHONE_NUMBER": _phone,
    "API_KEY": _key,
}
"""Entity type -> a value of it."""

PROSE = {
    "latin": ("Please note that you can use ", " as we agreed last week."),
    "cjk": ("请您记下这个信息", "以便日后联系我们谢谢"),
    "cyrillic": ("Запишите пожалуйста эти данные ", " для нашего договора."),
    "arabic": ("يرجى تسجيل هذه البيانات ", " للعقد القادم."),
}
"""Script -> the words around a canary."""


def _message(content: str | None, arguments: str | None = None) -> dict[str, Any]:
    calls = [{"id": "1", "name": "lookup", "arguments": arguments}] if arguments else None
    empty = dict.fromkeys(("reasoning", "name", "tool_call_id", "at"))
    return empty | {
        "role": "assistant" if calls else "user",
        "content": content,
        "tool_calls": calls,
    }


def _escaped(value: str) -> str:
    return "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in value)


def _split(value: str) -> str:
    """A line break after the separator or sign nearest to the middle; within the run where there
    is none."""
    middle = len(value) // 2
    places = [i + 1 for i, c in enumerate(value[:-1]) if not c.isalnum() and value[i + 1] != "@"]
    at = min(places, key=lambda i: abs(i - middle), default=middle)
    return f"{value[:at]}\n{value[at:]}"


CONTAINERS: dict[str, Callable[[str, str, str], dict[str, Any]]] = {
    "prose": lambda value, before, after: _message(f"{before}{value}{after}"),
    "adjacent": lambda value, before, after: _message(
        f"{before.strip()}：{value}。{after.strip()}"
    ),
    "json_escaped": lambda value, before, after: _message(
        f'{before}payload = {{"field": "{_escaped(value)}"}};{after}'
    ),
    "code": lambda value, before, after: _message(
        f"{before}\n```python\nuser_field = '{value}'  # set\n```\n{after}"
    ),
    "tool_argument": lambda value, before, after: _message(
        None, json.dumps({"note": f"{before}{value}{after}", "n": 3})
    ),
    "url_query": lambda value, before, after: _message(
        f"{before} https://shop.haus/find?q={quote(value)}&page=2 {after}"
    ),
    "split_over_lines": lambda value, before, after: _message(f"{before}{_split(value)}{after}"),
}
"""Container -> a message that holds the canary in it."""
