"""Numbers that the state or a service gave to a person: national ids, passports, plates, birth
dates, handles, profile pages, coordinates. Where a shape alone proves nothing a cue or a checksum
must stand beside it."""

import re
from collections.abc import Callable
from typing import Any

import regex

from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import NOT_IN_WORD, Rule, luhn, rule


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c.isdigit()]


def _weighted(digits: list[int], weights: str) -> int:
    return sum(d * int(w, 36) for d, w in zip(digits, weights, strict=False))


def _is_cpf(found: str) -> bool:
    """Brazil: two check digits modulo 11."""
    d = _digits(found)
    if len(set(d)) == 1:
        return False
    first = _weighted(d, "a98765432") * 10 % 11 % 10
    return d[9] == first and d[10] == _weighted(d, "ba98765432") * 10 % 11 % 10


def _is_chinese(found: str) -> bool:
    """China's resident number (GB 11643): ISO 7064 modulo 11-2."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(c) * w for c, w in zip(found, weights, strict=False))
    return "10X98765432"[total % 11] == found[-1].upper()


def _verhoeff_tables() -> tuple[list[list[int]], list[list[int]]]:
    """The dihedral group's multiplication and the digit permutations of Verhoeff's check."""
    times = [
        [
            ((a + b) % 5 if b < 5 else 5 + (a + b) % 5)
            if a < 5
            else (5 + (a - b) % 5 if b < 5 else (a - b) % 5)
            for b in range(10)
        ]
        for a in range(10)
    ]
    first = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    permuted = [list(range(10))]
    for _ in range(7):
        permuted.append([permuted[-1][i] for i in first])
    return times, permuted


_TIMES, _PERMUTED = _verhoeff_tables()


def _is_aadhaar(found: str) -> bool:
    """India: Verhoeff's check."""
    check = 0
    for i, digit in enumerate(reversed(_digits(found))):
        check = _TIMES[check][_PERMUTED[i % 8][digit]]
    return check == 0


def _is_dni(found: str) -> bool:
    """Spain: the letter is the number modulo 23."""
    plain = re.sub(r"[^0-9A-Z]", "", found.upper())
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def _is_nir(found: str) -> bool:
    """France: 97 less the number modulo 97."""
    plain = re.sub(r"\s", "", found).upper().replace("2A", "19").replace("2B", "18")
    return plain.isdigit() and 97 - int(plain[:13]) % 97 == int(plain[13:])


def _is_nhs(found: str) -> bool:
    d = _digits(found)
    return (11 - _weighted(d, "a98765432") % 11) % 11 == d[9]


def _is_pesel(found: str) -> bool:
    d = _digits(found)
    return (
        (10 - _weighted(d, "1379137913") % 10) % 10 == d[10]
        and d[2] % 2 * 10 + d[3] in range(1, 13)
        and 1 <= d[4] * 10 + d[5] <= 31
    )


def _is_swedish(found: str) -> bool:
    return luhn("".join(map(str, _digits(found)[-10:])))


def _has_digits(least: int) -> Callable[[str], bool]:
    return lambda found: sum(c.isdigit() for c in found) >= least


def _is_handle(found: str) -> bool:
    return any(c.isalpha() for c in found)


_NOT_A_PROFILE = frozenset(
    """
    about ads api blog company contact docs explore features help home intent jobs legal login me
    search share sharer sharer.php signup watch settings support topics trending
    tos terms privacy status hashtag i in feed results channel playlist embed shorts list new edit
    """.split()
)
"""First parts of a site's path that are nobody's name."""


def _is_profile(found: str) -> bool:
    return found.lower() not in _NOT_A_PROFILE and not found.isdigit()


def _are_coordinates(found: str) -> bool:
    """A latitude and a longitude, neither of them a share of one."""
    numbers = [float(n) for n in re.findall(r"[+-]?[0-9]+\.[0-9]+", found)]
    return abs(numbers[0]) <= 90 and abs(numbers[1]) <= 180 and max(map(abs, numbers)) >= 10


_DAY = "(?:0[1-9]|[12][0-9]|3[01])"
_MONTH = "(?:0[1-9]|1[0-2])"
_GAP = (
    r"(?:[^\w]|(?i:no|nr|num|number|n°|nummer|numéro|número|numero|is|was|are|of|ist|est|es|é|id"
    r"|card|my|the|value|de|del|della|of|是|为|は|號|号|番号|번호)[^\w\n]){0,6}"
)
"""Between a cue and its number: signs and small words."""
_NUMBER = r"([A-Za-z]{0,4}[0-9](?:(?:[.\-/]|[ ](?=[0-9A-Z]))?[0-9A-Za-z]){4,22})"
_IDS = (
    r"passport|reisepass|passeport|pasaporte|passaporto|паспорт|护照|護照"
    r"|パスポート|여권|جواز(?: السفر)?"
    r"|national id(?:entity|entification)?|identity card|id card|id number|identification number"
    r"|citizen id"
    r"|personalausweis|ausweis(?:nummer)?|cédula|cedula|carte d'identité|carta d'identità|tax id"
    r"|tax number"
    r"|taxpayer id|steuer-?id(?:entifikationsnummer)?|steuernummer|codice fiscale|ssn"
    r"|social security"
    r"|social insurance|national insurance|nhs|cpf|cnpj|curp|bsn|burgerservicenummer|sofinummer"
    r"|tax file"
    r"|medicare|medicaid|aadhaar|aadhar|voter id|pesel|personnummer|samordningsnummer|fødselsnummer"
    r"|fodselsnummer|hetu|henkilötunnus|nric|my number|mynumber"
    r"|マイナンバー|个人番号|個人番号|身份证|身分證"
    r"|주민등록번호|снилс|инн|tc kimlik|kimlik|رقم (?:الهوية|جواز السفر)|teudat zehut|תעודת זהות"
    r"|driver'?s? licen[cs]e|driving licen[cs]e|führerschein|permis de conduire|licen[cs]e number"
    r"|medical record|patient id|health card|insurance (?:id|member|policy)|member id"
    r"|policy number|beneficiary"
    r"|krankenversicherten|sozialversicherungs|versichertennummer|numéro de sécurité sociale"
    r"|sécurité sociale"
    r"|visa number|green card|alien registration|bank account|account number|routing number"
    r"|sort code"
    r"|kontonummer|iban|swift"
)
_ACRONYMS = (
    "NI|SIN|TIN|ITIN|EIN|DNI|NIE|NIF|RG|INE|TFN|ABN|PAN|CPR|FIN|RRN|TCKN|MRN|NIR|AHV|NINO|RUT|RUN"
    "|DL|SVNR|CF"
)
"""As words they prove nothing: `sin`, `fin`, `nie`, `ein`."""
_PLATE = (
    r"licen[cs]e plate|number plate|plate|registration plate|kennzeichen|immatriculation|plaque"
    r"|matrícula|matricula|targa|placa|kenteken|vin|chassis"
    r"|车牌|車牌|ナンバープレート|номер машины|госномер"
)
_PLATFORMS = (
    r"twitter|insta(?:gram)?|\big\b|telegram|tiktok|snap(?:chat)?|discord|github|gitlab|mastodon"
    r"|threads|bluesky|facebook|skype|wechat|signal|reddit|"
    r"twitch|steam|psn|xbox|linkedin|handle|user ?name|screen ?name|nickname|gamertag|login"
    r"|follow|dm me|add me|ping me|reach me|find me|tag me|"
    r"微信|推特|ユーザー名|ник"
)
_BEFORE_PAIR = r"(?:^|[^0-9.,;\s\[+-][ :=(\n]{0,2})"
_PAIR = (
    r"[+-]?[0-9]{1,2}\.[0-9]{4,}\s?°?\s?[NSns]?\s?[,;/ "
    r"]\s?[+-]?[0-9]{1,3}\.[0-9]{4,}\s?°?(?:\s?[EWew]\b)?"
)
_ALONE: Any = {
    "before": r"(?<![0-9A-Za-z.])(?<![,;:=\[\t|] ?)",
    "after": r"(?![0-9A-Za-z])(?! ?[,;\]\t|])",
}
"""A number that only a checksum tells from others is none of an array or a table."""

ID_RULES: tuple[Rule, ...] = (
    rule(
        "NATIONAL_ID", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", **NOT_IN_WORD, digits=True
    ),  # Chile
    rule(
        "NATIONAL_ID",
        rf"(?:\b(?:{_ACRONYMS})\b|(?i:{_IDS})){_GAP}{_NUMBER}",
        lambda found: (
            _has_digits(5)(found) and not re.match(r"[0-9]{4}[ -][0-9]{1,4}(?:\.|$)", found)
        ),
        after=r"(?![0-9])",
        part=1,
        digits=True,
    ),
    rule(  # United Kingdom
        "NATIONAL_ID",
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?[0-9]{2}){3} ?[A-D]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule("NATIONAL_ID", r"[0-9]{3}[ -][0-9]{3}[ -][0-9]{4}", _is_nhs, **NOT_IN_WORD, digits=True),
    rule(
        "NATIONAL_ID", r"[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}", luhn, **NOT_IN_WORD, digits=True
    ),  # Canada
    rule(
        "NATIONAL_ID",
        r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}",
        _is_aadhaar,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule("NATIONAL_ID", r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", **NOT_IN_WORD),  # India, tax
    rule(
        "NATIONAL_ID",
        r"(?:[0-9]{8}|[XYZ][0-9]{7})[ -]?[A-HJ-NP-TV-Z]",
        _is_dni,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Italy
        "NATIONAL_ID",
        r"(?i:[A-Z]{6}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z][0-9]{3}[A-Z])",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(
        "NATIONAL_ID",
        r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}"
        r"|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        _is_nir,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(
        "NATIONAL_ID", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", **NOT_IN_WORD, digits=True
    ),  # Brazil
    rule("NATIONAL_ID", r"[0-9]{11}", _is_cpf, **_ALONE, digits=True),
    rule(  # Mexico
        "NATIONAL_ID",
        rf"[A-Z][AEIOUX][A-Z]{{2}}[0-9]{{2}}{_MONTH}{_DAY}[HMX][A-Z]{{5}}[A-Z0-9][0-9]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(
        "NATIONAL_ID",
        rf"[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}{_MONTH}{_DAY}[0-9]{{3}}[0-9Xx]",
        _is_chinese,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(
        "NATIONAL_ID", rf"[0-9]{{2}}{_MONTH}{_DAY}-[1-8][0-9]{{6}}", **NOT_IN_WORD, digits=True
    ),  # Korea
    rule(
        "NATIONAL_ID",
        rf"(?:19|20)?[0-9]{{2}}{_MONTH}(?:{_DAY}|[6-9][0-9])[-+][0-9]{{4}}",
        _is_swedish,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Finland
        "NATIONAL_ID",
        rf"{_DAY}{_MONTH}[0-9]{{2}}[-+A-FU-Y][0-9]{{3}}[0-9A-FHJ-NPR-Y]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule("NATIONAL_ID", rf"[0-9]{{2}}[0-3][0-9]{_DAY}[0-9]{{5}}", _is_pesel, **_ALONE, digits=True),
    rule(
        "NATIONAL_ID", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", **NOT_IN_WORD, digits=True
    ),  # Switzerland
    rule("NATIONAL_ID", r"[STFGM][0-9]{7}[A-Z]", **NOT_IN_WORD, digits=True),  # Singapore
    rule(
        "NATIONAL_ID", r"[0-9]{3}-[0-9]{3}-[0-9]{3} [0-9]{2}", **NOT_IN_WORD, digits=True
    ),  # Russia
    rule(
        "LICENSE_PLATE",
        rf"(?i:(?:^|[^A-Za-z])(?:{_PLATE})s?){_GAP}([A-Za-zÄÖÜА-Я京沪粤浙苏0-9][\-·A-Za-zÄÖÜА-Я0-9]"
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
        r"(?i:\b(?:born(?: on)?|birth ?(?:date|day)|date of birth|d\.?o\.?b\.?|geboren(?: am)?"
        r"|geburtsdatum|née? le|date de naissance|nacid[oa] el|"
        r"fecha de nacimiento|nat[oa] il|data di nascita|data de nascimento|geboortedatum"
        r"|födelsedatum)|生日|出生日期|生年月日|생년월일|дата рождения|تاريخ الميلاد)"
        r"(?:[^0-9A-Za-z\n]|(?i:is|was|on|the|am|:|my)[^0-9A-Za-z]){0,8}"
        r"([0-9]{1,4}(?:[./年년-] ?)[0-9]{1,2}(?:[./月월-] ?)[0-9]{1,4}日?|[0-9]{1,2}(?:st|nd|rd"
        r"|th)?\.? (?:of )?\p{L}{3,9}\.?,? [0-9]{2,4}|\p{L}{3,9}\.? [0-9]{1,2}(?:st|nd|rd"
        r"|th)?,? [0-9]{4})",
        part=1,
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
        rf"(?i:(?:{_PLATFORMS})s?(?: ?(?:id|name|handle|account|user|username|tag))?(?: ?(?:is|as"
        rf"|on|:|=|是|は)){{1,2}} ?[\"'`]?)([\p{{L}}0-9_][\p{{L}}0-9_.-]{{2,30}}(?:#[0-9]{{4}})?)",
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
    rule(
        "COORDINATES",
        r"(?i:\b(?:lat(?:itude)?|lng"
        r"|lon(?:g(?:itude)?)?)\b[\"'\\]{0,3}\s?[:=]?\s?)([+-]?[0-9]{1,3}\.[0-9]{3,})",
        part=1,
    ),
    Rule(
        "COORDINATES",
        Linear(_BEFORE_PAIR + _PAIR),
        regex.compile(rf"{_BEFORE_PAIR}({_PAIR})" + r"(?!\s?[,;]?\s?[+-]?[0-9]|[0-9.])"),
        _are_coordinates,
        part=1,
    ),
    rule(
        "COORDINATES",
        r"(?i:\b(?:coord\w*|gps|geo\w*|located at|location|position|maps?[^\s]{0,40}?[@=/]|point"
        r"|pin)\b[^\n0-9+-]{0,24})"
        r"([+-]?[0-9]{1,3}\.[0-9]{3,}\s?°?\s?[NSns]?[,; /]\s?[+-]?[0-9]{1,3}\.[0-9]{3,})",
        after=r"(?!\s?[,;]?\s?[+-]?[0-9]|[0-9.])",
        part=1,
    ),
    rule(
        "COORDINATES",
        r"[0-9]{1,3}°\s?[0-9]{1,2}['′’]\s?(?:[0-9]{1,2}(?:\.[0-9]+)?[\"″”]?\s?)?[NSEWnsew](?:["
        r", ]{1,3}[0-9]{1,3}°\s?[0-9]{1,2}['′’]\s?(?:[0-9]{1,2}(?:\.[0-9]+)?[\"″”]?\s?)?[NSEWn"
        r"sew])?",
    ),
)
