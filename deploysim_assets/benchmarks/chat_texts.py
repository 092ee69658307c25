"""Chat-like texts for the benchmarks: several languages, code, tool-call JSON, digits, and
identifiers in some."""

import json

from deploysim_assets.synthetic.replies import reply
from deploysim_assets.synthetic.texts import LANGUAGES, pick, user_message
from deploysim_assets.synthetic.world import TOPICS, uniform

_CODE = '''
def total(items: list[dict[str, float]], rate: float = 0.19) -> float:
    """Sum of {n} items, v{a}.{b}.{c}, built 2026-0{a}-1{b}."""
    net = sum(item["price"] * item.get("count", 1) for item in items[{a}:{n}])
    return round(net * (1 + rate), 2)  # commit {h:016x}, ticket #{n}
'''


def chat_text(number: int, size: int) -> str:
    """A text of at least `size` characters, the same on every machine."""
    parts: list[str] = []
    length = turn = 0
    while length < size:
        key = ("chat", number, turn)
        topic = TOPICS[int(uniform(*key, "topic") * len(TOPICS))]
        parts.append(user_message(pick(LANGUAGES, uniform(*key, "language")), topic, *key))
        parts.append(reply("aurora-2", parts[-1], key, 1, simulated=False)["content"])
        a, b, c, n = (int(uniform(*key, part) * 9) + 1 for part in "abcn")
        if uniform(*key, "code") < 0.25:
            parts.append(
                _CODE.replace("{h:016x}", f"{int(uniform(*key) * 2**64):016x}").format(
                    a=a, b=b, c=c, n=n * 1021
                )
            )
        if uniform(*key, "json") < 0.15:
            parts.append(
                json.dumps(
                    {
                        "query": topic,
                        "limit": n,
                        "ids": [a * 7919, b * 104729],
                        "when": f"2026-05-{n:02}T10:00:00Z",
                    }
                )
            )
        length = sum(map(len, parts))
        turn += 1
    return "\n".join(parts)
