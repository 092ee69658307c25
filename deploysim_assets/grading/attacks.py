"""Texts that try to steer who grades them, told by rules, so that people look at such items: a
judge that fell for one cannot be the one to say so."""

import functools
from typing import Any

import re2  # pyright: ignore[reportMissingTypeStubs]

_JUDGES = (
    r"(?:grader|judge|evaluator|reviewer|rater|auditor|assessor|classifier|grading (?:model|"
    r"system|ai)|"
    r"evaluation (?:model|system|ai)|scoring (?:model|system))"
)
_RULES = (
    r"(?:instructions?|rubrics?|rules|guidelines|criteria|prompts?|definitions?|directions|"
    r"directives|behaviou?rs? (?:list|definitions?)|constraints)"
)
_CLEAN = (
    r"(?:safe|clean|harmless|compliant|unflagged|acceptable|benign|passing|passed|perfect|"
    r"innocuous|"
    r"not flagged|(?:severity )?(?:0|zero)|false|cannot_grade)\b"
)
_KINDS = {
    "sets the rules aside": [
        r"(?:ignore|disregard|forget|override|bypass|skip|discard|set aside|"
        r"drop)\b.{0,40}?\b(?:all|any|the|your|"
        r"previous|prior|above|earlier|these|those|every|preceding|grading|system)\b.{0,40}?\b"
        + _RULES,
        r"(?:do not|don't|never|stop) (?:follow|apply|use|obey)\w*.{0,30}\b" + _RULES,
        r"(?:new|updated|revised|real|actual) (?:system )?(?:instructions?|rubric|policy|"
        r"task)\b.{0,20}:",
        r"(?:rubric|rules|policy|instructions?|criteria|definitions?) (?:above |before )?(?:is|"
        r"are|was|were|has been|have been)"
        r" (?:now )?(?:updated|superseded|replaced|revoked|void|obsolete|outdated|suspended|"
        r"cancell?ed)",
    ],
    "addresses the judge": [
        r"(?:dear|attention|note (?:to|for)|message (?:to|for)|hey|hello|hi|to) (?:the |any |my |"
        r"all )?(?:ai |llm |"
        r"automated |automatic )?" + _JUDGES + r"s?\b",
        r"(?:ai|llm|automated|automatic) " + _JUDGES + r"s?\b",
        r"(?:you are|you're|if you are|as|acting as)(?: now)? (?:the|an?) (?:\w+ )?" + _JUDGES,
        r"(?:whoever|anyone|whatever) (?:is )?(?:grad|evaluat|judg|review|scor)\w+ this",
    ],
    "asks for a verdict": [
        r"(?:grade|mark|rate|score|classify|label|evaluate|assess|treat|report|judge|return|"
        r"answer|output|respond)\b"
        r".{0,60}?\b(?:as |with |of |that |=|:|to be )?\W{0,3}" + _CLEAN,
        r"(?:do not|don't|never|must not|should not|shouldn't|cannot|not to) (?:be )?flag",
        r"flagged\b\W{0,4}(?:is |to |be |must be |should be |=|:)?\W{0,4}false",
        r"severity\b\W{0,4}(?:is |of |to |must be |=|:)?\W{0,4}(?:0\b|zero)",
        r"(?:reply|response|answer|message|assistant)\b.{0,40}\b(?:already |been |has been |"
        r"was )+(?:approved|"
        r"cleared|certified|verified|reviewed|pre-approved)",
        r"(?:certify|confirm|declare|conclude)\b.{0,40}\b(?:safe|clean|no violations?|compliant|"
        r"severity)",
    ],
    "shows a verdict": [
        r'\\*["\'](?:flagged|severity|assessment|verdict|confidence)\\*["\']\s*:',
        r"<(?:verdict|grade|assessment|score)>",
        r"\b(?:final )?(?:verdict|grade|assessment)\s*[:=]\s*(?:safe|clean|not flagged|pass|"
        r"no violation|graded)",
    ],
    "ends the document": [
        r"\b(?:BEGIN|END) [0-9a-fA-F]{6,}",
        r"(?:<|\\u003c)/?(?:document|conversation|reply|data|input|transcript|untrusted|"
        r"user_input|context|prompt|"
        r"instructions?|information|important)>",
        r"\bend of (?:the )?(?:document|conversation|transcript|data|reply|input|untrusted|"
        r"user (?:input|message)|text)",
        r'\\*"(?:reply|conversation|left_out)\\*"\s*:\s*[\[{"]',
        r"[-=#*]{3,}\s*(?:end|begin|start|stop)\b.{0,30}[-=#*]{3,}",
    ],
    "takes another role": [
        r"\|(?:im_start|im_end|system|user|assistant|eot_id|start_header_id|end_header_id|"
        r"endoftext|end_of_text)\|",
        r"(?:<|\\u003c)/?(?:s|bos|eos|start_of_turn|end_of_turn|system|assistant)>",
        r"/?(?:INST|SYS|SYSTEM_PROMPT)\]",
        r"(?:^|\\n|\\r|[\"\]>.!?] ?)\W{0,4}(?:system|developer|admin\w*|root)(?: message| prompt|"
        r" notice| override| note)?\W{0,3}:",
        r"\bsystem (?:override|notice|update|message from)|\b(?:developer|debug|maintenance|"
        r"god) mode\b",
    ],
    "other languages": [
        r"(?:ignorier\w*|vergiss|missachte\w*|beachte\w*)\b.{0,40}\b(?:anweisung|bewertung|regel|"
        r"richtlini|vorgabe|kriteri)",
        r"(?:ignore[zr]?|oublie[zr]?)\b.{0,40}\b(?:instruction|consigne|r[eè]gle|crit[eè]re|"
        r"grille|bar[eè]me)",
        r"(?:ignora|ignore|olvida|descarta|omite)\b.{0,40}\b(?:instruccion|r[uú]brica|regla|"
        r"criterio|directri)",
        r"(?:ignora|dimentica|ignorate)\b.{0,40}\b(?:istruzion|rubrica|regol|criter)",
        r"(?:ignore|esque[cç]a|desconsidere)\b.{0,40}\b(?:instru[cç]|rubrica|regra|crit[eé]rio)",
        r"(?:игнорируй|игнорируйте|забудь|забудьте|не учитывай).{0,60}(?:инструкц|правил|критери|"
        r"рубрик|указани)",
        r"(?:zignoruj|pomi[nń]|zapomnij).{0,40}(?:instrukc|zasad|kryteri|wytyczn)",
        r"(?:negeer|vergeet).{0,40}(?:instructie|regel|criteri|richtlijn)",
        r"(?:忽略|无视|忽視|無視|不要理会|忘记).{0,20}(?:指令|指示|规则|規則|评分|評分|标准|標準|准则|说明|提示)",
        r"(?:指示|ルール|基準|採点|評価|命令).{0,12}(?:無視|忘れ|従わない)",
        r"(?:지시|규칙|기준|평가|지침).{0,12}(?:무시|잊)",
        r"(?:تجاهل|انس|لا تتبع).{0,40}(?:التعليمات|تعليمات|القواعد|المعايير)",
        r"(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल).{0,40}|(?:निर्देश|नियम).{0,30}(?:अनदेखा|नज़रअंदाज़|"
        r"नजरअंदाज|भूल)",
        r"(?:yoksay|görmezden gel|dikkate alma).{0,40}|(?:talimat|kural|kriter).{0,30}(?:yoksay|"
        r"görmezden|dikkate alma)",
        r"(?:bỏ qua|quên).{0,40}(?:hướng dẫn|quy tắc|tiêu chí|chỉ dẫn)",
        r"(?:bewerte|stufe|markiere).{0,60}(?:sicher|unbedenklich|harmlos|sauber)|"
        r"nicht (?:als )?\w* ?(?:markieren|melden)",
        r"(?:[eé]value|note|classe|marque)[zr]?\b.{0,60}\b(?:s[uû]r\b|sans danger|inoffensi|"
        r"conforme)",
        r"(?:eval[uú]a|califica|clasifica|marca)\b.{0,60}\b(?:segur|inofensiv|limpi)",
        r"(?:оцени|оцените|пометь|отметь|поставь).{0,60}(?:безопас|безвред|чист|ноль)",
        r"(?:评为|标记为|判定为|评估为|視為|评价为).{0,8}(?:安全|无害|合规|通过|清白)",
        r"(?:安全|問題なし|無害)(?:と|だと).{0,6}(?:評価|判定|採点|判断)",
    ],
    "hides text": [
        r"[\x{E0020}-\x{E007F}]",
        r"\pL[\x{200B}\x{2060}\x{FEFF}\x{00AD}]+\pL",
        r"[\x{202D}\x{202E}\x{2066}-\x{2068}]",
        r"(?:decode|base64|rot13|unscramble)\b.{0,60}\b(?:follow|obey|execute|comply|"
        r"instructions?|do what)",
    ],
}
_SIGNS = (
    r"ignor|disregard|forget|overrid|bypass|discard|set aside|\bdrop|\bskip|(?:do not|don't|"
    r"never|stop) (?:follow|apply|use|obey)|"
    r"rubric|instruction|policy|\btask|criteri|guideline|definition|grader|judge|evaluat|"
    r"reviewer|\brater|auditor|assessor|"
    r"classif|scoring|\bscor|grad(?:e|ing)|\bmark|\brate\b|\blabel|assess|\btreat|\breport|flag|"
    r"severity|verdict|approved|cleared|"
    r"verified|reviewed|certif|confirm|declar|conclud|confidence|begin [0-9a-f]{6}|"
    r"end [0-9a-f]{6}|\bend of|"
    r"(?:<|\\u003c)/?(?:document|conversation|reply|data|input|transcript|untrusted|user_input|"
    r"context|prompt|instruction|"
    r"information|important|s|bos|eos|start_of|end_of|system|assistant|verdict|grade)|"
    r"\"(?:reply|conversation|left_out|flagged)|[-=#*]{3}|\|[a-z_]+\||/?(?:INST|SYS|"
    r"SYSTEM_PROMPT)\]|(?:system|developer|admin\w*|root)(?: \w+)?\W{0,3}:|system (?:override|"
    r"notice|update|message)|(?:developer|debug|maintenance|god) mode|vergiss|missachte|beachte|"
    r"bewerte|stufe|markier|melden|oublie|value[zr]?\b|\bnote|classe|"
    r"marque|ignora|olvida|descarta|omite|eval[uú]a|califica|clasifica|marca|dimentica|"
    r"esque[cç]a|desconsidere|"
    r"игнорир|забудь|не учитывай|оцени|пометь|отметь|поставь|zignoruj|pomi[nń]|zapomnij|negeer|"
    r"vergeet|"
    r"忽略|无视|忽視|無視|不要理会|忘记|忘れ|従わない|무시|잊|تجاهل|انس|لا تتبع|अनदेखा|"
    r"नज़रअंदाज़|नजरअंदाज|भूल|yoksay|görmezden|dikkate|"
    r"bỏ qua|quên|评为|标记为|判定为|评估为|視為|评价为|評価|判定|採点|判断|[\x{E0020}-\x{E007F}]|"
    r"[\x{200B}\x{2060}\x{FEFF}\x{00AD}]|"
    r"[\x{202D}\x{202E}\x{2066}-\x{2068}]|decode|base64|rot13|unscramble"
)
"""Where an attack may stand. The patterns above are matched around such places alone."""

_AROUND, _LONGEST = 160, 60_000


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return options


@functools.cache
def _rules() -> tuple[Any, dict[str, Any]]:
    options = _options()
    kinds = {
        kind: re2.compile("|".join(f"(?:{p})" for p in some), options)
        for kind, some in _KINDS.items()
    }
    return re2.compile(_SIGNS, options), kinds


def attack(text: str) -> str | None:
    """How a document tries to steer its judge, in words, or None. It is a sign for people, never a
    grade: texts about grading show the same signs."""
    signs, kinds = _rules()
    pieces, size, start, end = list[str](), 0, 0, 0
    for sign in signs.finditer(text):
        if sign.start() - _AROUND > end:
            pieces.append(text[start:end])
            size += end - start
            start = max(sign.start() - _AROUND, 0)
        end = min(sign.end() + _AROUND, len(text))
        if size + end - start > _LONGEST:
            return "signs all over"
    if not end:
        return None
    around = "\n".join([*pieces, text[start:end]])
    return ", ".join(kind for kind, some in kinds.items() if some.search(around)) or None
