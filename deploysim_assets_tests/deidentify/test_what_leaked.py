"""Identifiers that once passed, as people and programs write them, and what looks like one and is
none. Each line is a text and, between double brackets, what must not be left of it."""

import json
import random
import re
from base64 import b64encode
from typing import Any

import pytest

from deploysim_assets.deidentify.rules import DetectionError
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.deidentify.surrogates import keyed_draw, make_surrogate
from deploysim_assets.project import Deidentification

SCRUBBER = Scrubber(b"l" * 32)
_MARKED = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


def message(content: str | None, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
    return empty | {"role": "user", "content": content} | more


def cleared(text: str, **more: Any) -> str:
    return SCRUBBER.scrub([message(text, **more)], "c").messages[0]["content"]


def _drawn(alphabet: str, count: int) -> str:
    rng = random.Random(count)
    return "".join(rng.choice(alphabet) for _ in range(count))


HEX, UPPER = "0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
MIXED = UPPER + UPPER.lower()
KEYS = [
    f"SK{_drawn(HEX, 32)}", f"AC{_drawn(HEX, 32)}", f"sq0atp-{_drawn(MIXED, 22)}",
    f"pul-{_drawn(HEX, 40)}", f"rubygems_{_drawn(HEX, 48)}", f"sntryu_{_drawn(HEX, 64)}",
    f"lsv2_pt_{_drawn(HEX, 32)}_{_drawn(HEX, 10)}", f"shippo_live_{_drawn(HEX, 40)}",
    f"PMAK-{_drawn(HEX, 24)}-{_drawn(HEX, 34)}", f"NRAK-{_drawn(UPPER, 27)}",
    f"dt0c01.{_drawn(UPPER, 24)}.{_drawn(UPPER, 64)}", f"{_drawn(HEX, 32)}-us12",
    f"pat{_drawn(MIXED, 14)}.{_drawn(HEX, 64)}", f"1/1234567890123456:{_drawn(HEX, 32)}",
    "sk-lf-12345678-1234-4abc-9def-0123456789ab", f"dp.pt.{_drawn(MIXED, 43)}",
    f"HRKU-{_drawn(MIXED, 60)}", f"sl.{_drawn(MIXED, 130)}", f"LTAI{_drawn(MIXED, 20)}",
    f"glsa_{_drawn(MIXED, 32)}_{_drawn(HEX, 8)}",
    f"{_drawn(MIXED, 14)}.atlasv1.{_drawn(MIXED, 64)}",
    f"toolu_01{_drawn(MIXED, 22)}", f"sk.eyJ1{_drawn(MIXED, 60)}.{_drawn(MIXED, 22)}",
    "$2b$12$" + _drawn(MIXED, 53), "0x742d35Cc6634C0532925a3b844Bc454e4438f44e",
]  # fmt: skip
SECRETS = """
Authorization: Bearer [[abcdefghijklmnopqrst]]
-H 'authorization: basic [[dXNlcjpwYXNz]]'
x-api-key: [[sommerfrische]]
PGPASSWORD=[[sommerwind]] psql -h h
psql "host=h port=5432 user=app password=[[sommerwind]] dbname=x"
spring.datasource.password=[[sommerwind]]
db:\\n  user: app\\n  password: [[sommerwind]]\\n
<add key="password" value="[[sommerwind]]"/>
<input type="text" name="ssn" id="a" value="[[078051120]]">
const password = `[[sommerwind]]`
user['password'] = '[[sommerwind]]'
mysql -u root -p[[sommerwind1]] db
sshpass -p [[sommerwind]] ssh x
docker login -u a -p [[sommerwind]]
machine h login a password [[sommerwind]]
jdbc:oracle:thin:scott/[[tiger99]]@//h:1521/orcl
mein Passwort lautet [[sommerwind1]]
https://x.de/p?PHPSESSID=[[abc12345def]]&x=1
https://x.de/a?key=[[abc12345defgh]]
your code is [[482910]]
CVV: [[123]]
my seed phrase: [[witch collapse practice feed shame open despair creek road again ice least]]
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 [[anna@laptop]]
""".strip().split("\n")
IDS = """
NHS no [[9434765919]]
numéro de sécu [[1 85 05 78 006 084 36]]
ich bin [[756.9217.0769.85]] und [[7569217076985]]
DNI [[12.345.678-Z]]
rijksregisternummer [[85.07.30-033.28]]
[[736028/5163]] rodné číslo
CNP [[1800101221144]]
护照号[[E12345678]]
マイナンバーは[[123456789012]]です
身分證字號 [[A123456789]]
HKID [[A123456(3)]]
MyKad [[900101-14-5678]]
เลขบัตรประชาชน [[1-1017-00230-70-8]]
CNIC [[42201-1234567-1]]
CUIT [[20-12345678-6]]
RFC [[GODE561231GR8]]
الرقم القومي [[29001011234567]]
SV-Nummer [[65070803A011]]
licence [[MORGA657054SM9IJ]]
MBI [[1EG4-TE5-MK73]]
Emirates ID [[784-1234-1234567-1]]
customer number [[ACC-99887766]]
user id [[3f2504e0-4f89-41d3-9a0c-0305e82c3301]]
BIC: [[COBADEFFXXX]]
[[123–45–6789]]
last four of my SSN are [[6789]]
MAC address [[001B44113AB7]]
host-[[84-112-33-7]].isp.net
geb. am [[9.7.1985]]
Ich bin am [[9. Juli 1985]] geboren
родился [[9 июля 1985]]
DOB [[19850709]]
/home/[[anna77]]/x and C:\\Users\\[[anna77]]\\x
[[anna]]@laptop:~/src$ ls
https://[[annaschmidt]].substack.com
https://www.facebook.com/profile.php?id=[[100004567890123]]
https://steamcommunity.com/profiles/[[76561198012345678]]
u/[[annaschmidt77]] wrote
微信号：[[anna_wx77]]
[[@anna_s_77]] on instagram
ORCID [[0000-0002-1825-0097]]
plaque [[AB-123-CD]] or 车牌号是[[京A12345]]
52°31'[[27.7]]"N 13°24'[[37.9]]"E
N52° [[31.462]] E13° [[24.632]]
/maps/@[[48.858,2.294]],17z
[[9F4MGCFG+9P]]
///[[filled.count.soap]]
five [[five five one two three four five six seven]]
8 ([[495) 123-45-67]]
[[13812345678]]
[[anna at gmail dot com]]
[[anna.schmidt @ gmail]].com
card [[4111_1111_1111_1111]] or [[4111/1111/1111/1111]]
""".strip().split("\n")
TABLES = [
    "id,ssn\n1,[[078051120]]\n",
    "| id | password |\n|---|---|\n| 1 | [[sommerwind]] |",
    "INSERT INTO u (id, full_name) VALUES (1, '[[Zebulon Quixworth]]'), (2, '[[Anna Quixworth]]')",
    "user:\n  full_name: [[Zebulon Quixworth]]\n  x: 1",
]
HIDDEN = [
    " ".join(f"{b:02x}" for b in b"anna.schmidt77@lindenhof.de"),
    ", ".join(f"0x{b:02x}" for b in b"anna.schmidt77@lindenhof.de"),
    b64encode("anna.schmidt77@lindenhof.de".encode("utf-16-le")).decode(),
    "\x07".join("anna.schmidt77@lindenhof.de"),
]


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([f"use [[{key}]] now" for key in KEYS], id="keys"),
        pytest.param(SECRETS, id="secrets"),
        pytest.param(IDS, id="ids"),
        pytest.param(TABLES, id="tables"),
        pytest.param([f"decode [[{run}]] please" for run in HIDDEN], id="hidden"),
    ],
)
def test_what_leaked_is_gone(texts: list[str]) -> None:
    left: list[str] = []
    for line in texts:
        marked = line.replace("\\n", "\n") if "\n" not in line else line
        output = cleared(_MARKED.sub(r"\1", marked))
        left += [line for secret in _MARKED.findall(marked) if secret in output]
    assert left == []


def test_tables_in_json_are_read_by_their_columns() -> None:
    for table in (
        {"columns": ["id", "ssn"], "rows": [[1, "078051120"], [2, 78051121]]},
        {"fields": [{"name": "id"}, {"name": "ssn"}], "values": [[1, "078051120"]]},
        [["id", "ssn"], [1, "078051120"]],
    ):
        output = cleared(json.dumps(table), role="tool")
        assert "78051120" not in output and "78051121" not in output
        assert json.dumps(json.loads(output)).startswith(json.dumps(table)[:12])


def test_a_calls_id_goes_wherever_it_is_named() -> None:
    call = {"id": "call_9tYxQ2", "name": "f", "arguments": "{}"}
    found = SCRUBBER.scrub(
        [
            message(None, role="assistant", tool_calls=[call]),
            message("call_9tYxQ2 was done", role="tool", tool_call_id="call_9tYxQ2"),
        ],
        "c",
    ).messages
    assert "9tYxQ2" not in json.dumps(found)
    assert found[0]["tool_calls"][0]["id"] == found[1]["tool_call_id"] == "call_1"


@pytest.mark.parametrize(
    "text",
    [
        "getUserAccountSettingsById2Or3: XMLHttpRequestEventTarget4 base64EncodedSHA256HashOf",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, id 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "password = user_input\npassword: str\nconnect(\n    password=pw,\n)",
        "import torch  # see github.com/pytorch/pytorch and docs.github.io",
        "/home/runner/work and /home/ubuntu/app, root@server:~# ls",
        "yes, sure, fine\nno, never, mind",
        "one two three four five six seven eight nine",
        "see RFC 4122/9562 and issue#1234, PR#5678",
        "color: #ff00aa; matrix 0.1234, 1.2345; version 8888+22",
        "we meet at 5, dot matrix printers",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert cleared(text) == text


def test_coordinates_that_are_only_generalized_are_coarse_in_every_notation() -> None:
    chat = cleared("52°31'27.7\"N 13°24'37.9\"E or at 52.52437, 13.41053 there, 9F4MGCFG+9P")
    for fine in ("31'", "27", "24'", "37.9", "52437", "41053", "MGCFG"):
        assert fine not in chat
    strict = Scrubber(b"l" * 32, Deidentification(min_level=0, profile="strict"))
    gone = strict.scrub([message("at 52°31′27″N 13°24′38″E")], "c").messages[0]["content"]
    assert "52" not in gone.replace("redacted", "") or "°" not in gone


def test_devices_stay_apart_and_one_stays_itself() -> None:
    draw = keyed_draw(b"l" * 32, "c")
    rng = random.Random(1)
    macs = [":".join(f"{rng.randrange(256):02x}" for _ in range(6)) for _ in range(300)]
    made = {make_surrogate("MAC_ADDRESS", mac, draw) for mac in macs}
    assert len(made) == len(set(macs))
    assert all(mac.lower().startswith("02:00:5e:") for mac in made)
    dashed = make_surrogate("MAC_ADDRESS", macs[0].upper().replace(":", "-"), draw)
    assert dashed.replace("-", ":").lower() == make_surrogate("MAC_ADDRESS", macs[0], draw)
    one, other = "4111 1111 1111 1111", "4111111111111111"
    plain = [re.sub(r"\D", "", make_surrogate("CREDIT_CARD", c, draw)) for c in (one, other)]
    assert plain[0] == plain[1]


def test_a_table_nested_too_deep_is_quarantined_and_not_a_crash() -> None:
    deep: Any = "x"
    for _ in range(80):
        deep = [["ssn"], [deep]]
    from deploysim_assets.deidentify.leaves import rewritten

    with pytest.raises(DetectionError, match="too_deep"):
        rewritten(message(json.dumps(deep)), lambda leaf: leaf.text)
