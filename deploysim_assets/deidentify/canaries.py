"""Seeded canaries: identifiers of every type as people write them, and the containers that they
are planted in."""

import json
import random
from base64 import b64encode
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
    return ".".join(str(rng.randint(11, 126)) for _ in range(4))


def _ssn(rng: random.Random) -> str:
    return rng.choice(("-", " ")).join(
        (str(rng.randint(100, 665)), f"{rng.randint(1, 99):02}", f"{rng.randint(1, 9999):04}")
    )


_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without those that are easily taken for another."""


def _key(rng: random.Random) -> str:
    def run(count: int) -> str:
        return "".join(rng.choice(_LETTERS) for _ in range(count))

    forms = (
        f"sk-{run(40)}",
        f"sk-proj-{run(36)}",
        f"ghp_{run(36)}",
        f"AKIA{run(16).upper()}",
        f"xoxb-{_digits(rng, 11)}-{run(24)}",
        f"hf_{run(34)}",
    )
    return rng.choice(forms)


def _secret(rng: random.Random) -> str:
    def run(count: int) -> str:
        return "".join(rng.choice(_LETTERS) for _ in range(count - 1)) + rng.choice("23456789")

    forms = (
        f"github_pat_11A{run(19)}_{run(40)}",
        f"ya29.a0{run(40)}",
        f"glpat-{run(20)}",
        f"Bearer {run(32)}",
        f"AccountKey={run(60)}==",
        f"postgres://app:{run(12)}@db{rng.randint(1, 99)}.lindenhof.de/main",
        f"eyJ{run(20)}.eyJ{run(30)}.{run(30)}",
        f"DB_PASSWORD={run(14)}",
    )
    return rng.choice(forms)


def _national_id(rng: random.Random) -> str:
    return rng.choice(
        (
            f"AB {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)} C",
            f"{_digits(rng, 3)}.{_digits(rng, 3)}.{_digits(rng, 3)}-{_digits(rng, 2)}",
            f"756.{_digits(rng, 4)}.{_digits(rng, 4)}.{_digits(rng, 2)}",
            f"{rng.randint(60, 99)}{rng.randint(10, 12)}{rng.randint(10, 28)}-"
            f"{rng.randint(1, 4)}{_digits(rng, 6)}",
            f"RSSMRA{rng.randint(50, 99)}T{rng.randint(10, 28)}A{_digits(rng, 3)}S",
            f"S{_digits(rng, 7)}D",
            f"passport X{_digits(rng, 8)}",
        )
    )


def _mac(rng: random.Random) -> str:
    pairs = [f"{rng.randint(0, 255):02x}" for _ in range(6)]
    written = rng.choice((":".join(pairs), "-".join(pairs)))
    return written.upper() if rng.random() < 0.5 else written


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
    "SECRET": _secret,
    "NATIONAL_ID": _national_id,
    "MAC_ADDRESS": _mac,
}
"""Entity type -> a value of it, which patterns know in any script and container."""


def _pick(*values: str) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


_FIRST = (
    "Laura",
    "Marco",
    "Keiko",
    "Julia",
    "Peter",
    "Sophie",
    "Viktor",
    "Elena",
    "Jonas",
    "Maria",
)
_LAST = (
    "Fischer",
    "Bianchi",
    "Tanaka",
    "Novak",
    "Brandt",
    "Martin",
    "Petrov",
    "Lindqvist",
    "Weber",
    "Silva",
)
_MONTHS = ("January", "March", "April", "June", "July", "August", "October", "November")

NAMED: dict[str, tuple[int, Callable[[random.Random], str], tuple[str, ...]]] = {
    "PERSON titled": (
        1,
        lambda rng: f"{rng.choice(_FIRST)[0]}. {rng.choice(_LAST)}",
        ("I spoke to Mr {} about the contract.", "The letter of Dr {} came late."),
    ),
    "PERSON": (
        2,
        lambda rng: f"{rng.choice(_FIRST)} {rng.choice(_LAST)}",
        (
            "Yesterday {} sent me the report.",
            "I met {} at the station and we talked.",
            "Please ask {} whether the offer still stands.",
        ),
    ),
    "DATE": (
        1,
        lambda rng: f"{rng.randint(1, 28)} {rng.choice(_MONTHS)} {rng.randint(1950, 2024)}",
        ("The contract was signed on {} in the office.", "We first met on {}."),
    ),
    "DATE numeric": (
        1,
        lambda rng: f"{rng.randint(1970, 2024)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        ("The invoice of {} is open.", "See the entry of {} in the log."),
    ),
    "LOCATION": (
        2,
        _pick("Rotterdam", "Göteborg", "Leipzig", "Valparaiso", "Nottingham", "Toulouse", "Kraków"),
        (
            "She moved to {} last year.",
            "I live in {} with my brother.",
            "The train from {} was late.",
        ),
    ),
    "ADDRESS": (
        1,
        lambda rng: (
            f"{rng.randint(1, 400)} {rng.choice(_LAST)} {rng.choice(('Street', 'Avenue', 'Road'))}"
        ),
        ("The parcel goes to {} today.", "He lives at {} since May."),
    ),
    "ORGANIZATION": (
        2,
        lambda rng: (
            f"{rng.choice(_LAST)} "
            f"{rng.choice(('Logistics Ltd', 'Partners LLP', 'Foods Inc', 'Machinery GmbH'))}"
        ),
        ("I work for {} in the north.", "The offer of {} was too low."),
    ),
}
"""Type -> the level that knows it, a value, and sentences around it."""

KEYED: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "password": ("SECRET", lambda rng: "".join(rng.choice("abcdefghjkmnpq") for _ in range(10))),
    "api_key": ("SECRET", lambda rng: "".join(rng.choice("abcdefghjkmnpq") for _ in range(20))),
    "access_token": ("SECRET", lambda rng: f"t{_digits(rng, 12)}q"),
    "client_secret": ("SECRET", lambda rng: "".join(rng.choice("bcdfghjkm") for _ in range(16))),
    "ssn": ("US_SSN", lambda rng: f"{rng.randint(100, 665)}{_digits(rng, 6)}"),
    "phone": ("PHONE_NUMBER", lambda rng: _digits(rng, 7)),
    "full_name": ("PERSON", lambda rng: (
        f"{rng.choice(_FIRST)}{rng.choice('bdfg')}o {rng.choice(_LAST)}x"
    )),
    "name": ("PERSON", lambda rng: f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"),
    "passport_number": ("NATIONAL_ID", lambda rng: f"C{_digits(rng, 8)}"),
    "account_number": ("ACCOUNT", lambda rng: _digits(rng, 10)),
    "date_of_birth": ("DATE_OF_BIRTH", lambda rng: (
        f"{rng.randint(1940, 2005)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    )),
}  # fmt: skip
"""Key of JSON -> the type that it promises and a value that says nothing by itself."""

PROSE = {
    "latin": ("Please note that you can use ", " as we agreed last week."),
    "cjk": ("请您记下这个信息", "以便日后联系我们谢谢"),
    "cyrillic": ("Запишите пожалуйста эти данные ", " для нашего договора."),
    "arabic": ("يرجى تسجيل هذه البيانات ", " للعقد القادم."),
    "devanagari": ("कृपया यह जानकारी लिख लें ", " अगले अनुबंध के लिए।"),
    "hangul": ("다음 정보를 적어 두세요 ", "입니다 감사합니다"),
    "thai": ("กรุณาจดข้อมูลนี้", "ไว้สำหรับสัญญาของเรา"),
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
    "table_row": lambda value, before, after: _message(
        f"{before}\n| no | value | note |\n| --- | --- | --- |\n| 3 | {value} | open |\n{after}"
    ),
    "csv_row": lambda value, before, after: _message(
        f"{before}\nno,value,note\n3,{value},open\n{after}"
    ),
    "xml": lambda value, before, after: _message(
        f"{before}\n<item no='3'><field>{value}</field></item>\n{after}"
    ),
    "quoted_mail": lambda value, before, after: _message(
        f"{after}\n> > {before}\n> > {value}\n> thanks"
    ),
    "split_over_lines": lambda value, before, after: _message(f"{before}{_split(value)}{after}"),
}
"""Container -> a message that holds the canary in it."""


def _turns(*contents: str) -> list[dict[str, Any]]:
    return [_message(content) for content in contents]


def _in_arguments(key: str, value: str) -> list[dict[str, Any]]:
    return [_message(None, json.dumps({"user": {"n": 1, key: value}}))]


KEYED_CONTAINERS: dict[str, Callable[[str, str], list[dict[str, Any]]]] = {
    "tool_argument": _in_arguments,
    "tool_result": lambda key, value: [
        _message(json.dumps({"rows": [{"n": 1, key: value}]})) | {"role": "tool"}
    ],
    "json_in_text": lambda key, value: _turns(
        f"I got this:\n{json.dumps({key: value, 'n': 2})}\nWhy?"
    ),
    "json_in_json": lambda key, value: _in_arguments("body", json.dumps({key: value})),
    "half_open": lambda key, value: _turns(f'it ended with {{"n": 2, "{key}": "{value}'),
}
"""Container -> messages that hold a key and its value."""


def _halves(value: str) -> tuple[str, str]:
    digits = [i for i, c in enumerate(value) if c.isalnum()]
    cut = digits[len(digits) // 2]
    return value[:cut], value[cut:]


HIDDEN: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "two_messages": lambda value: _turns(
        f"it starts with {_halves(value)[0]}", f"{_halves(value)[1]} is the rest"
    ),
    "base64": lambda value: _turns(f"decode {b64encode(f'id: {value}'.encode()).decode()} please"),
    "hex": lambda value: _turns(f"decode {value.encode().hex()} please"),
    "url": lambda value: _turns("see " + "".join(f"%{b:02X}" for b in value.encode())),
    "html_entities": lambda value: _turns("see " + "".join(f"&#{ord(c)};" for c in value)),
    "zero_width": lambda value: _turns(f"see {chr(0x200B).join(value)} there"),
    "variation_selectors": lambda value: _turns(f"see {chr(0xFE0F).join(value)} there"),
}
"""Hiding place -> messages that hold a value there."""
SPLIT = ("CREDIT_CARD", "IBAN_CODE", "US_SSN")
"""Types whose halves prove each other; the first half of a mailbox is a word like any."""
