"""What people write in the synthetic world, by topic and language, with identifiers planted in
some messages."""

from deploysim_assets.synthetic.world import TOPICS, uniform

LANGUAGES = {"en": 0.55, "de": 0.12, "es": 0.12, "fr": 0.08, "zh": 0.07, "ja": 0.06}

_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "arithmetic": (
            "How much is {a} times {b}, plus {c}?",
            "Split a bill of {a}.50 among {c} people, please, and calculate the tip.",
        ),
        "travel": (
            "Plan a trip of {c} days to Lisbon in spring.",
            "Which train do I take from Vienna to Prague, and what does the trip cost?",
        ),
        "code": (
            "My function fails with an index error on input {a}. Here is the "
            "code:\n```python\ndef f(x):\n    return x[{c}]\n```",
            "Write a unit test for the code that parses dates.",
        ),
        "health": (
            "I sleep badly since {c} weeks. What helps my health?",
            "Is it healthy to run every day?",
        ),
        "smalltalk": ("Good morning! How are you today?", "Tell me a story about your weekend."),
        "facts": (
            "Who built the lighthouse of Alexandria, as a matter of fact?",
            "What are the facts about the moon's orbit?",
        ),
        "mail": (
            "Write a short mail to my landlord about the heating.",
            "Make this mail politer, it is number {c} this week.",
        ),
    },
    "de": {
        "arithmetic": ("Wie viel ist {a} mal {b}, plus {c}?",),
        "travel": ("Plane eine Reise von {c} Tagen nach Lissabon.",),
        "code": ("Mein Programmcode stürzt bei Eingabe {a} ab. Woran liegt es?",),
        "health": ("Ich schlafe seit {c} Wochen schlecht. Was hilft der Gesundheit?",),
        "smalltalk": ("Guten Morgen! Wie geht es dir heute?",),
        "facts": ("Welche Fakten kennt man über die Umlaufbahn des Mondes?",),
        "mail": ("Schreibe eine kurze Nachricht an meinen Vermieter.",),
    },
    "es": {
        "arithmetic": ("¿Cuánto es {a} por {b}, más {c}?",),
        "travel": ("Organiza un viaje de {c} días a Lisboa.",),
        "code": ("Mi código falla con la entrada {a}. ¿Por qué?",),
        "health": ("Duermo mal desde hace {c} semanas. ¿Qué ayuda a la salud?",),
        "smalltalk": ("¡Buenos días! ¿Qué tal estás hoy?",),
        "facts": ("¿Qué datos se conocen de la órbita de la luna?",),
        "mail": ("Escribe un correo corto a mi casero.",),
    },
    "fr": {
        "arithmetic": ("Combien font {a} fois {b}, plus {c} ?",),
        "travel": ("Prépare un voyage de {c} jours à Lisbonne.",),
        "code": ("Mon code source plante avec l'entrée {a}. Pourquoi ?",),
        "health": ("Je dors mal depuis {c} semaines. Qu'est-ce qui aide la santé ?",),
        "smalltalk": ("Bonjour ! Comment ça va aujourd'hui ?",),
        "facts": ("Que sait-on de l'orbite de la lune ?",),
        "mail": ("Écris un courriel court à mon propriétaire.",),
    },
    "zh": {
        "arithmetic": ("{a}乘以{b}再加{c}等于多少？",),
        "travel": ("帮我安排{c}天的里斯本旅行。",),
        "code": ("我的代码在输入{a}时出错，为什么？",),
        "health": ("我{c}周以来睡得不好，什么有益健康？",),
        "smalltalk": ("早上好！你今天怎么样？",),
        "facts": ("关于月球轨道有哪些事实？",),
        "mail": ("给我的房东写一封短邮件。",),
    },
    "ja": {
        "arithmetic": ("{a}かける{b}たす{c}はいくつですか。",),
        "travel": ("リスボンへの{c}日間の旅行を計画してください。",),
        "code": ("入力{a}でコードが失敗します。なぜですか。",),
        "health": ("{c}週間よく眠れません。健康に良いことは何ですか。",),
        "smalltalk": ("おはようございます。今日の調子はどうですか。",),
        "facts": ("月の軌道について何が知られていますか。",),
        "mail": ("大家さんに短いメールを書いてください。",),
    },
}

_CUES = {
    "arithmetic": (
        " times ",
        "split a bill",
        "wie viel ist",
        "cuánto es",
        "combien font",
        "乘以",
        "かける",
    ),
    "travel": ("trip", "reise", "viaje", "voyage", "旅行"),
    "code": ("code", "código", "代码", "コード"),
    "health": ("health", "gesundheit", "salud", "santé", "健康"),
    "mail": ("mail", "nachricht an", "correo", "courriel", "邮件", "メール"),
    "facts": ("fact", "fakten", "datos", "orbite", "事实", "軌道"),
    "smalltalk": ("morning", "weekend", "morgen", "días!", "bonjour", "早上好", "おはよう"),
}

_PLANTED = {
    "en": (
        "You can reach me at {email}.",
        "My number is (415) 555-{n4}.",
        "I paid with card {card}.",
        "The server was {ip}.",
    ),
    "de": ("Erreichbar bin ich unter {email}.", "Meine IBAN ist DE89 3704 0044 0532 0130 00."),
    "es": ("Escríbeme a {email}.", "Pagué con la tarjeta {card}."),
    "fr": ("Mon adresse est {email}.", "Le serveur était {ip}."),
    "zh": ("我的邮箱是{email}。", "卡号{card}"),
    "ja": ("連絡先は{email}です。", "サーバーは{ip}でした。"),
}


def user_message(language: str, topic: str, *key: object) -> str:
    """A user's message; about one in nine holds an identifier."""
    a, b, c = (
        int(uniform(*key, part) * size) + 2 for part, size in (("a", 900), ("b", 90), ("c", 9))
    )
    questions = _QUESTIONS[language][topic]
    text = questions[int(uniform(*key, "question") * len(questions))].format(a=a, b=b, c=c)
    return with_identifier(text, language, *key)


def with_identifier(text: str, language: str, *key: object) -> str:
    """A message to which, one time in nine, its writer adds an identifier."""
    if uniform(*key, "planted") >= 1 / 9:
        return text
    lines = _PLANTED[language]
    n = int(uniform(*key, "digits") * 9000) + 1000
    planted = lines[int(uniform(*key, "line") * len(lines))]
    email, card = f"kim.{n}@lindenhof.test", "4111 1111 1111 1111"
    ip = f"81.2.{n % 250}.{n // 250}"
    return f"{text} {planted.format(email=email, n4=n, card=card, ip=ip)}"


def topic_of(text: str) -> str:
    """The topic of a user's message by its cue words, as the synthetic models see it; smalltalk
    where there is none."""
    lower = text.lower()
    return next(
        (topic for topic in _CUES if any(cue in lower for cue in _CUES[topic])), "smalltalk"
    )


def pick(shares: dict[str, float], u: float) -> str:
    """The entry of a distribution at u in [0, 1)."""
    for name, share in shares.items():
        u -= share
        if u < 0:
            return name
    return next(reversed(shares))


assert set(_CUES) == set(TOPICS)
