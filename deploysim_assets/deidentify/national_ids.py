"""Numbers that a state gave to a person: told by a cue beside them, by their checksum, or by a
shape that nothing else has."""

import re
from collections.abc import Callable
from typing import Any

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


_NIR_IN_GROUPS = re.compile(r"[12] [0-9]{2} [0-9]{2} [0-9][0-9AB] [0-9]{3} [0-9]{3} [0-9]{2}")


def _is_nir(found: str) -> bool:
    """France: 97 less the number modulo 97; a mistyped one in its groups is one still."""
    if _NIR_IN_GROUPS.fullmatch(found):
        return True
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


def _is_old_age_number(found: str) -> bool:
    """Switzerland: the check digit of EAN-13."""
    d = _digits(found)
    return (10 - _weighted(d, "131313131313") % 10) % 10 == d[12]


def _is_cnp(found: str) -> bool:
    """Romania: weights modulo 11, where ten counts as one."""
    d = _digits(found)
    rest = _weighted(d, "279146358279") % 11
    return (1 if rest == 10 else rest) == d[12]


def _is_rut(found: str) -> bool:
    """Chile: weights 2 to 7 from the right, modulo 11."""
    body, check = found[:-2], found[-1].upper()
    total = sum(int(c) * (2 + i % 6) for i, c in enumerate(reversed(body)))
    return "0123456789K0"[11 - total % 11 if total % 11 else 11] == check


def _is_taiwanese(found: str) -> bool:
    """Taiwan: the letter's number and the digits, weighted, modulo 10."""
    first = 10 + "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(found[0])
    d = [first // 10, first % 10, *_digits(found)]
    return (d[0] + _weighted(d[1:10], "987654321") + d[10]) % 10 == 0


def _has_digits(least: int) -> Callable[[str], bool]:
    return lambda found: sum(c.isdigit() for c in found) >= least


_DAY = "(?:0[1-9]|[12][0-9]|3[01])"
_MONTH = "(?:0[1-9]|1[0-2])"
GAP = (
    r"(?:[^\w]|(?i:no|nr|num|number|numbers|n°|nummer|numéro|número|numero|номер|is|was|are|of|ist"
    r"|lautet|est|es|é|id|card|my|the|value|de|del|della)[^\w\n]"
    r"|号码|號碼|号|號|番号|번호|是|为|為|は|が|는|은){0,6}"
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
    r"|unique taxpayer(?: reference)?|my sin|αφμ|егн"
    r"|\butr\b|philhealth|mykad|huduma|emirates id|iqama|acct|my account"
    r"|contribuinte|cartão de cidadão|sécu|seguridad social|documento de identidad|mi documento"
    r"|rijksregister|numéro national|rodné číslo|személyi szám|ust-?id|ausweis-?nummer|sv-nummer"
    r"|\bidnr\b|身分證字號|身份證|旅券|आधार|เลข(?:ประจำตัว)?บัตรประชาชน|เลขประจำตัวประชาชน"
    r"|الرقم القومي|رقم قومي|کد ملی|ת\.?ז\.?|паспорта|паспорт серия|\bmbi\b|epic no"
    r"|krankenversicherten|sozialversicherungs|versichertennummer|numéro de sécurité sociale"
    r"|sécurité sociale"
    r"|visa number|green card|alien registration|bank account|account number|routing number"
    r"|sort code"
    r"|kontonummer|iban|swift"
)
_ACRONYMS = (
    "NI|SIN|TIN|ITIN|EIN|DNI|NIE|NIF|RG|INE|TFN|ABN|PAN|CPR|FIN|RRN|TCKN|MRN|NIR|AHV|NINO|RUT|RUN"
    "|DL|SVNR|CF|UTR|NPI|DEA|MBI|ABA|RVNR|KVNR|CNI|CIE|NSS|NAF|NUSS|CNP|AFM"
    "|CUIT|CUIL|NIK|KTP|CCCD|CMND|SSS|CNIC|NIC|NID|CNH|NIN|BVN|IRD|OHIP|HKID|EGN|TAJ|NIP"
    "|C\\.C|RSA ID|IC"
)
"""As words they prove nothing: `sin`, `fin`, `nie`, `ein`."""
_ALONE: Any = {
    "before": r"(?<![0-9A-Za-z.])(?<![,;:=\[\t|] ?)",
    "after": r"(?![0-9A-Za-z])(?! ?[,;\]\t|])",
}
"""A number that only a checksum tells from others is none of an array or a table."""

NATIONAL_IDS: tuple[Rule, ...] = (
    rule(
        "NATIONAL_ID", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", **NOT_IN_WORD, digits=True
    ),  # Chile
    rule(
        "NATIONAL_ID",
        rf"(?:\b(?:{_ACRONYMS})\b|(?i:{_IDS})){GAP}{_NUMBER}",
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
    rule(  # United Kingdom, of a driver
        "NATIONAL_ID",
        r"[A-Z9]{5}[0-9][0156][0-9][0-3][0-9]{2}[A-Z9]{2}[0-9A-Z]{3}",
        _has_digits(6),
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # USA, of Medicare
        "NATIONAL_ID",
        r"[1-9][AC-HJ-NP-RT-Y][0-9AC-HJ-NP-RT-Y][0-9]-?[AC-HJ-NP-RT-Y][0-9AC-HJ-NP-RT-Y][0-9]"
        r"-?[AC-HJ-NP-RT-Y]{2}[0-9]{2}",
        **NOT_IN_WORD,
        gate=r"[0-9]-?[A-Y]{2}[0-9]{2}",
    ),
    rule("NATIONAL_ID", r"756[0-9]{10}", _is_old_age_number, **_ALONE, digits=True),
    rule(
        "NATIONAL_ID",
        r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}[ -]?[A-HJ-NP-TV-Z]",
        _is_dni,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Belgium
        "NATIONAL_ID",
        r"[0-9]{2}\.[0-5][0-9]\.[0-3][0-9]-[0-9]{3}[.-][0-9]{2}",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Sweden; of this century's third decade are times of files
        "NATIONAL_ID",
        rf"(?:19[0-9]{{2}}|20[01][0-9]){_MONTH}(?:{_DAY}|[6-9][0-9])[0-9]{{4}}",
        _is_swedish,
        **_ALONE,
        digits=True,
    ),
    rule(  # Czechia and Slovakia
        "NATIONAL_ID",
        rf"[0-9]{{2}}[0-8][0-9]{_DAY}/[0-9]{{4}}",
        lambda found: int(found.replace("/", "")) % 11 == 0,
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Romania
        "NATIONAL_ID",
        rf"[1-8][0-9]{{2}}{_MONTH}{_DAY}[0-9]{{6}}",
        _is_cnp,
        **_ALONE,
        digits=True,
    ),
    rule("NATIONAL_ID", r"[A-Z][1289][0-9]{8}", _is_taiwanese, **NOT_IN_WORD, digits=True),
    rule(  # Hong Kong
        "NATIONAL_ID", r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)", before=r"(?<![0-9A-Za-z])", digits=True
    ),
    rule(  # Malaysia
        "NATIONAL_ID",
        rf"[0-9]{{2}}{_MONTH}{_DAY}-[0-9]{{2}}-[0-9]{{4}}",
        before=r"(?<![0-9A-Za-z-])",
        after=r"(?![0-9A-Za-z-])",
        digits=True,
    ),
    rule(  # Thailand
        "NATIONAL_ID",
        r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule("NATIONAL_ID", r"[1-7][0-9]{4}-[0-9]{7}-[0-9]", **NOT_IN_WORD, digits=True),  # Pakistan
    rule("NATIONAL_ID", r"[0-9]{2}[0-8][0-9]{6}[VX]", **NOT_IN_WORD, digits=True),  # Sri Lanka
    rule(  # Mexico, of a taxpayer
        "NATIONAL_ID",
        rf"[A-ZÑ&]{{4}}[0-9]{{2}}{_MONTH}{_DAY}[A-Z0-9]{{2}}[0-9A]",
        **NOT_IN_WORD,
        digits=True,
    ),
    rule(  # Argentina
        "NATIONAL_ID", r"(?:2[034567]|3[034])-[0-9]{8}-[0-9]", **NOT_IN_WORD, digits=True
    ),
    rule("NATIONAL_ID", r"[0-9]{7,8}-[0-9Kk]", _is_rut, **NOT_IN_WORD, digits=True),
    rule(  # South Africa
        "NATIONAL_ID",
        rf"[0-9]{{2}}{_MONTH}{_DAY}[0-9]{{4}}[01][89][0-9]",
        luhn,
        **_ALONE,
        digits=True,
    ),
    rule("NATIONAL_ID", r"784-[0-9]{4}-[0-9]{7}-[0-9]", **NOT_IN_WORD, digits=True),  # Emirates
)
