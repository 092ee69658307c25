"""What a service or a register gave to a person: plates, birth dates, handles, profile pages,
accounts; and where a place is. Where a shape alone proves nothing a cue must stand beside it."""

import re
from itertools import pairwise

import regex

from deploysim_assets.deidentify.coordinate_rules import COORDINATE_RULES
from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.national_ids import GAP, NATIONAL_IDS
from deploysim_assets.deidentify.rules import NOT_IN_WORD, Rule, rule


def _is_handle(found: str) -> bool:
    return any(c.isalpha() for c in found)


_NOT_A_PROFILE = frozenset(
    """
    about ads api blog company contact docs explore features help home intent jobs legal login me
    search share sharer sharer.php signup watch settings support topics trending
    profile.php people groups
    tos terms privacy status hashtag i in feed results channel playlist embed shorts list new edit
    """.split()
)
"""First parts of a site's path that are nobody's name."""


def _is_profile(found: str) -> bool:
    return found.lower() not in _NOT_A_PROFILE and not (found.isdigit() and len(found) < 5)


def _is_no_machine(found: str) -> bool:
    return found.lower() not in _NO_PERSON and found[0].isalnum()


_COUNT = "zero one two three four five six seven eight nine".split()


def _is_told_number(found: str) -> bool:
    """Whether digits in words are a number that is told, and nobody's counting."""
    said = [0 if w == "oh" else _COUNT.index(w) for w in re.findall(r"[a-z]+", found.lower())
            if w in (*_COUNT, "oh")]  # fmt: skip
    steps = {b - a for a, b in pairwise(said)}
    return len(said) >= 7 and steps not in ({1}, {-1}, {0})


_OF_A_REPOSITORY = re.compile(r"(?i)(?:issue|pr|bug|ticket|page|case|order|ref|item|no|pull)s?#")


_PLATE = (
    r"reg(?:istration)? (?:no|number|plate)|reg:|tag number|vehicle number|tablica"
    r"|numer rejestracyjny"
    r"|licen[cs]e plate|number plate|plate|registration plate|kennzeichen|immatriculation|plaque"
    r"|matrícula|matricula|targa|placa|kenteken|vin|chassis"
    r"|车牌|車牌|ナンバープレート|номер машины|госномер"
)
_PLATFORMS = (
    r"tweet(?:s|ed)?|twitter|insta(?:gram)?|\big\b|telegram|tiktok|snap(?:chat)?|discord|github"
    r"|gitlab|mastodon|threads|bluesky|facebook|skype|wechat|signal|reddit|twitch|steam|venmo|kik"
    r"|viber|psn|xbox|linkedin|handle|user ?name|screen ?name|nickname|gamertag|login"
    r"|follow|dm me|add me|ping me|reach me|find me|tag me|"
    r"微信|推特|ユーザー名|ник"
)
_DATE_SIGNS = r"[0-9]{1,4}(?:[./年년-] ?)[0-9]{1,2}(?:[./月월-] ?)[0-9]{1,4}日?"
_DATE_WORDS = (
    r"[0-9]{1,2}(?:st|nd|rd|th)?\.? (?:of |de )?\p{L}{3,9}\.?,? (?:de )?[0-9]{2,4}"
    r"|\p{L}{3,9}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}"
)
_BORN = r",? ?(?:(?i:geboren|born|nacid[oa])|出生)"
_SITES = (
    r"github\.io|gitlab\.io|wordpress\.com|substack\.com|tumblr\.com|blogspot\.[a-z.]{2,6}"
    r"|livejournal\.com|bandcamp\.com|deviantart\.com|carrd\.co|medium\.com|bsky\.social"
    r"|notion\.site"
)
_NO_PERSON = frozenset(
    """
    admin administrator app appuser builder circleci default docker ec2-user example git guest
    hadoop jenkins jovyan me mysql name nobody node oracle pi postgres project public root runner
    sandbox shared site src test travis tmp ubuntu user username users vagrant vscode vsts work
    www your-name yourname you
    """.split()
)
"""Accounts of machines, in homes and at prompts."""


def _is_a_page(found: str) -> bool:
    return found.lower() not in _NOT_A_PROFILE | _NO_PERSON


ID_RULES: tuple[Rule, ...] = (
    *NATIONAL_IDS,
    rule(
        "LICENSE_PLATE",
        rf"(?i:(?:^|[^A-Za-z])(?:{_PLATE})s?){GAP}([A-Za-zÄÖÜА-Я京沪粤浙苏0-9][\-·A-Za-zÄÖÜА-Я0-9]"
        rf"{{0,4}}(?:[ \-·][A-Za-z0-9]{{1,5}}){{0,3}}[A-Z0-9]{{0,12}})",
        lambda found: (
            any(c.isdigit() for c in found) and 4 <= sum(c.isalnum() for c in found) <= 17
        ),
        part=1,
    ),
    rule("LICENSE_PLATE", r"[A-HJ-PR-Y]{2}[0-9]{2} [A-HJ-PR-Z]{3}", **NOT_IN_WORD),  # UK
    rule("LICENSE_PLATE", r"[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} [0-9]{2,4}[EH]?", **NOT_IN_WORD),  # Germany
    rule(
        "DATE_OF_BIRTH",
        rf"(?i:\b(?:born(?: on| in)?|birth ?(?:date|day)|date of birth|d\.?o\.?b\.?|geboren(?: am)?"
        rf"|geb\.(?: am)?|geburtsdatum|née? le|date de naissance|nacid[oa](?: el)?|nací(?: el)?"
        rf"|fecha de nacimiento|nat[oa] il|data di nascita|data de nascimento|geboortedatum"
        rf"|födelsedatum)|生日|出生(?:日期|于|於)|生年月日|생년월일|дата рождения|родил(?:ся|ась)"
        rf"|д\.\s?р\."
        rf"|تاريخ الميلاد)(?:[^0-9A-Za-z\n]|(?i:is|was|on|the|am|el|le|:|my)[^0-9A-Za-z]){{0,8}}"
        rf"({_DATE_SIGNS}|{_DATE_WORDS}|(?:19|20)[0-9]{{6}}(?![0-9]))",
        part=1,
    ),
    Rule(
        "DATE_OF_BIRTH",
        Linear(rf"{_BORN}"),
        regex.compile(rf"(?<=(?<![0-9A-Za-z])({_DATE_SIGNS}|{_DATE_WORDS})){_BORN}"),
        back=True,
        part=1,
        keywords=(b"born", b"geboren", b"nacid", "出生".encode()),
    ),
    rule(
        "PROFILE_URL",
        r"(?i:(?:linkedin\.com/(?:in|pub)|facebook\.com(?:/people)?|fb\.com|fb\.me"
        r"|instagram\.com|twitter\.com|x\.com|t\.me|telegram\.me|wa\.me|"
        r"tiktok\.com|threads\.net|bsky\.app/profile|youtube\.com/(?:user|c)|youtube\.com"
        r"|reddit\.com/(?:u|user)|medium\.com|snapchat\.com/add|"
        r"vk\.com|weibo\.com/u?|pinterest\.com|soundcloud\.com|twitch\.tv|quora\.com/profile"
        r"|researchgate\.net/profile|orcid\.org|keybase\.io|"
        r"steamcommunity\.com/(?:id|profiles)|strava\.com/athletes|venmo\.com(?:/u)?|paypal\.me"
        r"|cash\.app|calendly\.com|about\.me|"
        r"orcid\.org)/)(?:@|%40)?([^\s/?#\"'<>()\[\]{}\\,]{2,80})",
        _is_profile,
        before=r"(?<![A-Za-z0-9-])",
        after=r"(?![^\s/?#\"'<>()\[\]{}\\,])",
        part=1,
    ),
    rule(
        "PROFILE_URL",
        r"(?i:git(?:hub|lab)\.com/)([A-Za-z0-9-]{2,40})",
        _is_profile,
        before=r"(?<![A-Za-z0-9.-])",
        after=r"(?!/?[A-Za-z0-9_.-])",
        part=1,
        keywords="github.com/ gitlab.com/",
    ),
    rule(
        "PROFILE_URL",
        r"(?i:/(?:users?|u|profiles?|members?|people|author)/)([^\s/?#\"'<>()\[\]{}\\,]{2,80})",
        _is_profile,
        before=r"(?<=\.[A-Za-z]{2,12})",
        part=1,
        keywords="/user /u/ /profile /member /people /author",
    ),
    rule(
        "HANDLE",
        rf"(?i:(?:{_PLATFORMS})[^\n@]{{0,40}}?)(@[\p{{L}}0-9_][\p{{L}}0-9_.]{{1,30}}[\p{{L}}0-9_])",
        _is_handle,
        after=r"(?![\p{L}0-9_(/@])",
        part=1,
        keywords="@",
    ),
    rule(
        "HANDLE",
        rf"(?i:(?:{_PLATFORMS})s?(?:(?: ?(?:id|name|handle|account|username|user|tag|号|號))?"
        rf"(?: ?(?:is|as|on|:|：|=|是|は)){{1,2}}| (?:id|name|handle|username|user|tag)\b|号|號)"
        rf" ?[\"'`@]?)([\p{{L}}0-9_][\p{{L}}0-9_.-]{{2,30}}(?:#[0-9]{{4}})?)",
        lambda found: any(c.isdigit() or c == "_" for c in found),
        after=r"(?![\p{L}0-9_(/@])",
        part=1,
    ),
    rule(
        "HANDLE",
        r"@(?:)([A-Za-z][A-Za-z]*[0-9_][A-Za-z0-9_]{0,28})",
        _is_handle,
        before=r"(?<![\p{L}0-9_.@/\n$(\[{])(?<!(?:^|\n)[ \t]*)",
        after=r"(?![\p{L}0-9_(/@.=])",
        part=1,
        keywords="@",
    ),
    *COORDINATE_RULES,
    rule(
        "LICENSE_PLATE",
        r"[A-Z]{2}-[0-9]{3}-[A-Z]{2}|[A-Z]{2}[ -]?[0-9]{1,2}[ -][A-Z]{1,3}[ -][0-9]{4}"
        r"|[АВЕКМНОРСТУХ][0-9]{3}[АВЕКМНОРСТУХ]{2}[0-9]{2,3}"
        r"|[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z]·?[A-HJ-NP-Z0-9]{5,6}"
        r"|\p{Han}{1,4} ?[0-9]{2,3} ?\p{Hiragana} ?[0-9]{2}-[0-9]{2}",
        lambda found: any(c.isdigit() for c in found),
        **NOT_IN_WORD,
        gate=r"[A-Z]{2}-[0-9]{3}-|[0-9][ -][A-Z]{1,3}[ -][0-9]{4}|[АВЕКМНОРСТУХ][0-9]{3}"
        r"|[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z]"
        r"|[0-9] ?[ぁ-ん] ?[0-9]",
    ),
    Rule(  # a page of one's own: the site's name comes behind
        "PROFILE_URL",
        Linear(rf"(?i:[a-z0-9][a-z0-9_-]{{2,40}}\.(?:{_SITES}))"),
        regex.compile(
            rf"(?i:(?<![a-z0-9._-])([a-z0-9][a-z0-9_-]{{2,40}})\.(?:{_SITES})(?![a-z0-9-]))"
        ),
        _is_a_page,
        part=1,
        gate=rf"(?i:\.(?:{_SITES}))",
    ),
    rule(
        "PROFILE_URL",
        r"(?i:(?:facebook\.com/profile\.php\?id=|gist\.github\.com/|xing\.com/profile/|[?&]user=))"
        r"([A-Za-z0-9_.-]{4,60})",
        part=1,
        keywords="profile.php gist.github.com xing.com user=",
    ),
    rule(
        "HANDLE",
        r"@(?:)([\p{L}0-9_][\p{L}0-9_.]{1,30})",
        after=rf"(?= (?:on|at|over at|via) (?i:{_PLATFORMS}|x)\b)",
        part=1,
        keywords="@",
    ),
    rule(
        "HANDLE",
        r"\bu/(?:)([A-Za-z0-9_-]{4,20})",
        before=r"(?<![A-Za-z0-9/.])(?<!/ )",
        after=r"(?![A-Za-z0-9_/.-])",
        part=1,
        keywords="u/",
    ),
    rule(
        "HANDLE",
        r"(?:\b(?:tg|TG|sc|SC|ig|psn|PSN|QQ|qq|(?i:line id|on snapchat|on discord))\b"
        r"(?:号码?)?[:： ]{1,2}@?"
        r"|live:|微信(?:号|號)?[:： ]{0,2})"
        r"(\.?[A-Za-z0-9_][A-Za-z0-9_.]{3,40})",
        lambda found: sum(c.isdigit() or c == "_" for c in found) > 0,
        part=1,
    ),
    rule(
        "HANDLE",
        r"STEAM_[0-5]:[01]:[0-9]{4,12}|7656119[0-9]{10}|0000-000[1-9]-[0-9]{4}-[0-9]{3}[0-9X]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(
        "HANDLE",
        r"[A-Za-z0-9_.]{2,32}#[0-9]{4}",
        lambda found: not _OF_A_REPOSITORY.match(found) and any(c.isalpha() for c in found),
        before=r"(?<![A-Za-z0-9_./#-])",
        after=r"(?![0-9A-Za-z])",
        keywords="discord",
    ),
    rule(
        "HANDLE",
        r"(?i:cash ?app|cashtag)[^\n$]{0,30}\$(?:)([A-Za-z][A-Za-z0-9_-]{2,19})",
        part=1,
        gate=r"(?i)cash ?app|cashtag",
    ),
    rule(  # whose home it is
        "HANDLE",
        r"(?:/home/|/Users/|[A-Za-z]:(?:\\{1,4}|/)Users(?:\\{1,4}|/))"
        r"([\p{L}0-9][\p{L}0-9_.-]{1,40})",
        _is_no_machine,
        after=r"(?![\p{L}0-9_.-])",
        part=1,
        keywords="/home/ /users/ users",
    ),
    rule(  # a shell's prompt
        "HANDLE",
        r"[a-z][a-z0-9_.-]{1,31}@[A-Za-z][A-Za-z0-9-]{1,60}:[~/][^\s$#]{0,200}[$#] ",
        lambda found: _is_no_machine(found.partition("@")[0]),
        before=r"(?<![A-Za-z0-9_.-])",
        keywords="@",
    ),
    rule(
        "ACCOUNT",
        r"(?i:\b(?:(?:user|customer|client|member|employee|student|subscriber|device|guest)"
        r" ?(?:id|no|number|nr|code)|account ?id)\b\.?|\b(?:kunden|mitglieds|konto|vertrags)nummer)"
        r"(?i:[ :=#\"'`]|is\b|ist\b|lautet\b){1,5}([A-Za-z0-9][A-Za-z0-9-]{3,40})",
        lambda found: sum(c.isdigit() for c in found) >= 4,
        after=r"(?![A-Za-z0-9-])",
        part=1,
        gate=r"(?i)(?:user|customer|client|member|employee|student|subscriber|device|guest)"
        r" ?(?:id|no|number|nr|code)|account ?id|nummer",
    ),
    rule(
        "ACCOUNT",
        r"\b(?:BIC|SWIFT|Swift)(?: ?[Cc]ode)?[ :=]{1,3}(?:)([A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)",
        after=r"(?![A-Za-z0-9])",
        part=1,
        keywords="bic swift",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:cvv2?|cvc2?|security code)(?:[ :=#]|is\b){1,4})([0-9]{3,4})",
        after=r"(?![0-9A-Za-z]|[.,][0-9])",
        part=1,
        gate=r"(?i)cv[vc]2?[ :=#]|security code",
    ),
    rule(
        "US_SSN",
        r"(?i:\blast (?:four|4)(?: digits| numbers)?(?: of| for)?(?: my| the| your| his| her)?"
        r" (?:ssn|social)\b[^0-9\n]{0,24}|\bmy social(?: is| number is|:) ?)([0-9]{4}|[0-9]{9})",
        after=r"(?![0-9])",
        part=1,
        gate=r"(?i)last (?:four|4)|my social",
    ),
    rule(
        "MAC_ADDRESS",
        r"(?i:\b(?:mac|hwaddr|bssid)(?: addr(?:ess)?)?(?:[ :=\"']|is\b){1,4})([0-9A-Fa-f]{12})",
        after=r"(?![0-9A-Za-z])",
        part=1,
        gate=r"(?i)\bmac[ :=]|hwaddr|bssid",
    ),
    rule(
        "IP_ADDRESS",
        r"(?i:\b(?:ip|ec2|host|dsl|dyn|dynamic|static|pool|cust|cable|ppp|dhcp|nat)[-.])"
        r"([0-9]{1,3}(?:-[0-9]{1,3}){3})",
        lambda found: all(int(n) < 256 for n in found.split("-")),
        after=r"(?![0-9-])",
        part=1,
    ),
    rule(
        "PHONE_NUMBER",
        r"(?i:(?:(?:double |triple )?(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)\b"
        r"[ ,-]{0,3}){7,15})",
        _is_told_number,
        before=r"(?<![A-Za-z-])",
        gate=r"(?i)(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)[ ,-]{1,3}(?:zero|oh|one"
        r"|two|three|four|five|six|seven|eight|nine|double|triple)[ ,-]{1,3}",
    ),
    rule(  # Russia
        "PHONE_NUMBER",
        r"[78][ -]?\(?[3-9][0-9]{2}\)?[ -]?[0-9]{3}[ -][0-9]{2}[ -][0-9]{2}",
        **NOT_IN_WORD,
        digits=True,
    ),
)
