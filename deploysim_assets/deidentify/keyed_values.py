"""What a key says of its value: `{"password": ..}` in parsed JSON, in JSON inside a text (also cut
off), in .env lines, arguments, headers and connection strings."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import re2  # pyright: ignore[reportMissingTypeStubs]

from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.people import AMBIGUOUS
from deploysim_assets.deidentify.rules import Span
from deploysim_assets.deidentify.secret_rules import is_filled_in

_KEYS = {
    "SECRET": """
        password passwd pwd pass passphrase passcode passwort userpassword dbpass dbpassword
        rootpassword secret secrets clientsecret appsecret sharedsecret consumersecret secretkey
        secretaccesskey apikey apisecret apitoken appkey accesskey accesskeyid accesstoken
        refreshtoken idtoken authtoken authorization authkey bearertoken bearer sessiontoken
        sessionid sessionkey sessioncookie sid securitytoken privatekey signingkey encryptionkey
        masterkey accountkey storagekey subscriptionkey licensekey sshkey pgpkey deploykey
        servicekey webhooksecret webhookurl connectionstring connstr dsn databaseurl credential
        credentials cookie setcookie cookies csrftoken xsrftoken otp totp mfacode onetimecode
        verificationcode securitycode securityanswer secretanswer pin pincode cvv cvc cvv2 cardpin
        bottoken token usertoken devicetoken pushtoken githubtoken gitlabtoken slacktoken
        discordtoken telegramtoken hftoken npmtoken personalaccesstoken pat jwt signature sas
        sastoken seed seedphrase mnemonic recoveryphrase recoverycode recoverykey backupcode hash
        passwordhash pwdhash salt passworddigest xapikey xauthtoken proxyauthorization
    """,
    "US_SSN": "ssn socialsecurity socialsecuritynumber ssnlast4 last4ssn",
    "NATIONAL_ID": """
        nationalid nationalidnumber nationalinsurance nationalinsurancenumber nino nhsnumber sin
        taxid taxnumber taxpayerid tin itin ein steuerid idnumber idno identitynumber identitycard
        idcard citizenid citizennumber personalnumber personalid personnummer passport
        passportnumber passportno passportid driverlicense driverslicense driverlicence
        driverslicence driverlicensenumber driverslicensenumber licensenumber licencenumber dlnumber
        aadhaar aadhar aadhaarnumber pan pannumber cpf cnpj curp rfc dni nie nif bsn pesel nric fin
        tfn medicarenumber medicareid mrn medicalrecordnumber medicalrecord patientid patientnumber
        healthcardnumber insuranceid insurancenumber insurancepolicy policynumber memberid
        beneficiaryid residentid voterid visanumber aliennumber codicefiscale rrn mynumber hetu
        cprnumber vatid
    """,
    "ACCOUNT": """
        accountnumber accountno acctnumber acctno bankaccount bankaccountnumber routingnumber
        sortcode bic swift swiftcode userid useridentifier uid customerid customernumber clientid
        clientnumber employeeid employeenumber staffid studentid accountid deviceid deviceserial
        imei imsi iccid udid idfa gaid advertisingid serialnumber guestid subscriberid loyaltynumber
        frequentflyer frequentflyernumber
    """,
    "IBAN_CODE": "iban ibannumber",
    "CREDIT_CARD": """
        creditcard creditcardnumber ccnumber cardnumber cardno debitcard debitcardnumber ccnum
        cardnum paymentcard cc
    """,
    "PHONE_NUMBER": """
        phone phonenumber phoneno telephone telephonenumber tel mobile mobilephone mobilenumber cell
        cellphone cellnumber fax faxnumber whatsapp whatsappnumber contactnumber msisdn callerid
        phones phonenumbers homephone workphone telefon telefono telefonnummer handy handynummer sms
    """,
    "EMAIL_ADDRESS": "email emailaddress mail emails mailaddress",
    "PERSON": """
        firstname lastname fullname middlename surname familyname givenname forename maidenname
        displayname realname legalname customername clientname patientname employeename username
        personname contactname recipientname sendername guestname passengername cardholder
        cardholdername nameoncard accountholder accountholdername beneficiaryname payeename
        holdername ownername buyername sellername tenantname studentname teachername doctorname
        physicianname drivername managername spousename parentname childname mothersmaidenname
        emergencycontact nextofkin attendees attendee vorname nachname prenom nom nombre apellido
        apellidos nome cognome sobrenome fname lname
    """,
    "NAME": (
        "name names contact recipient sender author owner assignee customer patient passenger "
        "guest employee reporter"
    ),
    "HANDLE": """
        login handle screenname nickname nick usernames twitter twitterhandle instagram
        instagramhandle telegram telegramid discord discordid skype skypeid githubusername
        githubuser wechat wechatid tiktok snapchat gamertag
    """,
    "DATE_OF_BIRTH": (
        "dob dateofbirth birthdate birthday birthdateutc geburtsdatum fechadenacimiento "
        "datenaissance"
    ),
    "ADDRESS": """
        address addressline addressline1 addressline2 address1 address2 street streetaddress
        streetname homeaddress mailingaddress shippingaddress billingaddress postaladdress
        deliveryaddress line1 line2 residence zip zipcode postalcode postcode plz
    """,
    "LICENSE_PLATE": (
        "licenseplate licenceplate plate platenumber numberplate vehicleplate registrationplate vin"
    ),
    "COORDINATES": (
        "lat latitude lng lon long longitude coordinates coords latlng latlong gps geolocation geo"
    ),
    "PLACE": (
        "city town village county hometown birthplace placeofbirth suburb neighborhood "
        "neighbourhood municipality"
    ),
}
"""Type -> keys in lower case without signs. A key counts by its last words, so that
`customer_phone` is a phone; NAME and PLACE are looked at more closely."""

_TYPE_OF = {key: kind for kind, keys in _KEYS.items() for key in keys.split()}
_WHOLE_KEY_ONLY = frozenset(
    """
    pass pin pat hash salt seed sid uid cc tel cell mail fin sin pan rfc nie signature token tokens
    login handle line1 line2 geo gps lat lon long plate cookies secrets nick nom nome name names
    contact recipient sender author owner assignee sms handy residence jwt sas bic ein tin iban
    address city county customer patient passenger guest employee reporter town street instagram
    telegram twitter discord cookie dsn
    """.split()
)
"""Too short or too common at the end of a longer key (`pad_token`, `image_hash`)."""
_LONGER_TOO = {
    "address": ("home", "mailing", "shipping", "billing", "postal", "delivery", "street", "work"),
    "city": ("home", "birth", "billing", "shipping"),
    "token": ("access", "auth", "api", "refresh", "session", "bearer", "bot", "secret", "user"),
    "tel": ("home", "work", "contact"),
    "cell": ("home", "work", "contact"),
    "lat": ("start", "end", "pickup", "home", "user", "location"),
    "lon": ("start", "end", "pickup", "home", "user", "location"),
    "hash": ("password", "pwd"),
    "cookie": ("session", "auth"),
    "iban": ("sender", "recipient", "customer", "bank"),
    "mail": ("e", "contact"),
    "name": (),
}
_WEAK = frozenset(
    """
        hash salt seed signature token tokens cookie cookies setcookie sid pat pass sas dsn
        credential credentials secrets
        """.split()
)
"""Keys whose values are often words: a secret under them holds a digit or is long."""
_PASSED_ON = frozenset(
    """
        value values raw text current new old number content data 0 1 primary secondary home
        work main default
        """.split()
)
"""Keys that say nothing of their own: the one above counts."""
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_IN_PERSON = frozenset({"EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "DATE_OF_BIRTH", "NATIONAL_ID"})


@lru_cache(maxsize=20_000)
def type_of_key(key: str) -> str | None:
    """The entity type that a key promises, or None."""
    words = [w.lower() for w in _WORDS.findall(key[:120])]
    if not words:
        return None
    for i in range(len(words)):
        tail = "".join(words[i:])
        found = _TYPE_OF.get(tail)
        if found is None:
            continue
        if i and tail in _WHOLE_KEY_ONLY and words[i - 1] not in _LONGER_TOO.get(tail, ()):
            continue
        return found
    return None


def is_passed_on(key: str) -> bool:
    """Whether a key takes its meaning from the key above it."""
    return key.lower() in _PASSED_ON or key.isdigit()


_NAME_WORD = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?:['’.-][^\W\d_]*)*\.?")


def is_name(value: str, *, certain: bool) -> bool:
    """Whether a value can be a person's name: a few words of letters; where the key proves nothing
    one of them must be a known name."""
    words = value.replace(",", " ").split()
    if not 1 <= len(words) <= 6 or not all(_NAME_WORD.fullmatch(w) for w in words):
        return False
    if certain:
        return value not in ("string", "null", "None", "unknown", "N/A")
    if not all(w[0].isupper() or w in ("de", "van", "von", "der", "da", "di", "la") for w in words):
        return False
    folded = [w.casefold().rstrip(".") for w in words]
    if len(folded) == 1:
        return folded[0] in first_names() - AMBIGUOUS
    return folded[0] in first_names() or folded[-1] in last_names() - AMBIGUOUS


_OF_A_THING = frozenset(
    """
    parameters arguments args input inputs inputschema function functions tool tools schema
    properties required returns type types description enum size path filename mimetype extension
    version url uri link price rating stars currency category quantity stock sku cuisine capacity
    default command license packages dependencies cost amenities
    """.split()
)
"""Keys beside a `name` that is a tool's, a file's, a product's or a place's."""
_SURELY_NO_NAME = frozenset("string null none unknown n/a true false user assistant tool".split())
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{2,5}$")


def may_be_person(value: str, *, of_a_thing: bool) -> bool:
    """Whether the value under a bare `name` is taken for a person: by the lists where a thing's
    keys stand beside it, else by its writing alone, for most names are on no list."""
    words = value.replace(",", " ").split()
    if is_name(value, certain=False):
        return True
    if of_a_thing or not is_name(value, certain=True) or _SUFFIX.search(value):
        return False
    if value.casefold() in _SURELY_NO_NAME:
        return False
    if value.islower():
        return len(words) > 1 and any(
            w in first_names() or w in last_names() - AMBIGUOUS for w in words
        )
    return not words[0][0].islower() and not re.search(r"[a-z][A-Z]{2}", value)


def is_of_a_thing(keys: Iterable[str]) -> bool:
    """Whether keys are those of a tool's, a file's or a product's description."""
    return any(_plain_key(k) in _OF_A_THING for k in keys)


@lru_cache(maxsize=20_000)
def _plain_key(key: str) -> str:
    """In lower case, without signs."""
    return re.sub(r"[\W_]", "", key[:120].lower())


def type_of_value(  # noqa: C901, PLR0912 (one case a type)
    key_type: str,
    value: str,
    key: str = "",
    *,
    beside_person: bool = False,
    of_a_thing: bool = False,
) -> str | None:
    """The type of the value under a key of `key_type`, or None where it is not one: a schema's
    word, a variable, an empty one."""
    value, key = value.strip(), _plain_key(key)
    digits = sum(c.isdigit() for c in value)
    if not is_filled_in(value):
        return None
    match key_type:
        case "SECRET":
            kept = len(value) >= 4 or digits == len(value)
            if key in _WEAK:
                kept = kept and (digits > 0 or len(value) >= 20) and not value.startswith("(")
            if key in ("cookie", "cookies", "setcookie"):
                kept = kept and "=" in value
        case "NAME":
            if beside_person:
                return "PERSON" if is_name(value, certain=True) else None
            return "PERSON" if may_be_person(value, of_a_thing=of_a_thing) else None
        case "PERSON":
            kept = is_name(value, certain=True) or digits > 0
            return ("PERSON" if is_name(value, certain=True) else "HANDLE") if kept else None
        case "PLACE":
            return "LOCATION" if any(c.isalpha() for c in value) else None
        case "HANDLE":
            kept = any(c.isalpha() for c in value) and " " not in value
        case "EMAIL_ADDRESS":
            kept = "@" in value
        case "ADDRESS":
            kept = digits > 0 or value[0].isupper()
        case "DATE_OF_BIRTH":
            kept = digits >= 4
        case "COORDINATES":
            return "COORDINATES" if re.search(r"[0-9]\.[0-9]{3}", value) else None
        case "ACCOUNT":
            kept = digits >= 3 and len(value) >= 4
        case "PHONE_NUMBER":
            kept = digits >= 5
        case "CREDIT_CARD" | "IBAN_CODE":
            kept = digits >= 10
        case _:
            kept = digits >= 3
    return key_type if kept else None


# --- the same in a text that is no JSON as a whole -------------------------------------------

_STEM: Any = re2.compile(
    r"(?i)pass|pwd|secret|token|key|auth|cred|cookie|dsn|conn|database|ssn|social|nation"
    r"|passport|licen|tax|"
    r"phone|tel|mobil|cell|fax|whatsapp|mail|name|login|handle|nick|birth|dob|address|street|zip"
    r"|post|plate|vin|lat|lng|"
    r"lon|coord|gps|iban|card|cvv|cvc|cc|pin|otp|account|acct|routing|user|uid|sid|customer"
    r"|client|employee|patient|member|"
    r"policy|medical|mrn|insurance|device|imei|aadhaar|pan|cpf|dni|bsn|nino|nhs|pesel|sig|jwt"
    r"|pat|salt|hash|seed|mnemonic|"
    r"recover|backup|verif|contact|recipient|sender|author|owner|guest|passenger|city|town"
    r"|county|swift|bic|id"
)
_QUOTED_KEY: Any = re2.compile(
    r"""\\{0,7}["']([A-Za-z][A-Za-z0-9_. -]{1,40})\\{0,7}["']\s{0,3}(?::|=>|=)\s{0,3}"""
)
_PLAIN_KEY: Any = re2.compile(r"""([A-Za-z][A-Za-z0-9_.-]{1,40})(\s{0,3}[=:]{1,2}>?\s{0,3})""")
_TAG: Any = re2.compile(r"<([A-Za-z][A-Za-z0-9_.:-]{1,40})>([^<>\n]{3,200})</")
_QUOTE = re.compile(r"""\\{0,7}["']""")
_BARE = re.compile(r"""[^\s,;}\]"'\\<>&)]{3,400}""")
_BARE_PHONE = re.compile(r"[+(]?[0-9][0-9 ().\-/]{4,22}[0-9]")
_BARE_ADDRESS = re.compile(r"[\p{Lu}0-9(][^\n|]{4,100}".replace(r"\p{Lu}", "A-ZÀ-Þ"))
_AS_WRITTEN = {
    "PHONE_NUMBER": _BARE_PHONE,
    "CREDIT_CARD": _BARE_PHONE,
    "ADDRESS": _BARE_ADDRESS,
}
_LIST_END = 2_000
_ANY_KEY = re.compile(r"""["']([A-Za-z_]{2,40})\\{0,7}["']\s{0,3}:""")
_NEAR = 300
"""So far around a `name` in a text its object's other keys are looked for."""


def keyed_spans(encoded: EncodedText) -> Iterator[Span]:
    """Values in a text whose key tells what they are."""
    if _STEM.search(encoded.data) is None:
        return
    text = encoded.text
    if ":" in text or "=" in text:
        yield from _quoted(encoded, text)
        yield from _plain(encoded, text)
    if "</" in text:
        for hit in _TAG.finditer(encoded.data):
            key = hit.group(1).decode()
            kind = type_of_key(key)
            if kind:
                start, end = encoded.index(hit.start(2)), encoded.index(hit.end(2))
                yield from _valued(kind, key, text, start, end)


def _quoted(encoded: EncodedText, text: str) -> Iterator[Span]:
    for hit in _QUOTED_KEY.finditer(encoded.data):
        key = hit.group(1).decode()
        kind = type_of_key(key)
        if kind is None:
            continue
        at = encoded.index(hit.end())
        if text[at : at + 1] == "[":
            stop = min((i for i in (text.find("]", at), at + _LIST_END) if i >= 0), default=at)
            while (quote := _QUOTE.search(text, at, stop)) is not None:
                start, end, at = _string(text, quote)
                yield from _valued(kind, key, text, start, end)
        elif quote := _QUOTE.match(text, at):
            start, end, _ = _string(text, quote)
            yield from _valued(kind, key, text, start, end)
        elif (value := _BARE.match(text, at)) and value.group()[0] not in "{[":
            yield from _valued(kind, key, text, value.start(), value.end())


def _string(text: str, quote: re.Match[str]) -> tuple[int, int, int]:
    """Start and end of a string's inside, and where to go on; a string that is cut off ends with
    its line or the text."""
    opened = quote.group()
    for closing in re.finditer(r"""(\\*)(["'])""", text[quote.end() : quote.end() + 20_000]):
        if closing.group(2) == opened[-1] and len(closing.group(1)) <= len(opened) - 1:
            return quote.end(), quote.end() + closing.start(), quote.end() + closing.end()
    end = text.find("\n", quote.end())
    return quote.end(), (len(text) if end < 0 else end), len(text)


def _plain(encoded: EncodedText, text: str) -> Iterator[Span]:
    """Unquoted keys: values that look like what the key promises; a name of code does not."""
    for hit in _PLAIN_KEY.finditer(encoded.data):
        key = hit.group(1).decode()
        kind = type_of_key(key)
        if kind is None or kind in ("NAME", "PLACE"):
            continue
        before, at = encoded.index(hit.start()), encoded.index(hit.end())
        sign = hit.group(2).strip()
        if sign == b"==":
            continue
        if quote := _QUOTE.match(text, at):
            start, end, _ = _string(text, quote)
            if (
                "\n" not in text[start:end]
                and len(quote.group()) == 1
                and text[start : start + 1] not in (" ", "+", ",", ")", "%", "]", "}", ":", ";")
            ):
                yield from _valued(kind, key, text, start, end)
            continue
        value = _AS_WRITTEN.get(kind, _BARE).match(text, at)
        if value is None:
            continue
        found = value.group()
        tight = key.isupper() or text[before - 1 : before] in (";", "&", "?")
        if _holds_bare(kind, found, sign, tight=tight, in_url=text[before - 1 : before] in "&?"):
            yield from _valued(kind, key, text, value.start(), value.end())


def _holds_bare(kind: str, found: str, sign: bytes, *, tight: bool, in_url: bool) -> bool:
    """Whether an unquoted value is one, not a name of code or the next word."""
    match kind:
        case "SECRET":
            return (tight and sign in (b"=", b":")) or _looks_random(found)
        case "PERSON":
            return sign == b"=" and in_url
        case "ADDRESS":
            return any(c.isdigit() for c in found) and "://" not in found
        case _:
            digits = sum(c.isdigit() for c in found)
            return digits >= 4 and re.match(r"[A-Za-z_]\w*[.(\[]", found) is None


def _looks_random(found: str) -> bool:
    return (
        len(found) >= 6
        and any(c.isdigit() for c in found)
        and any(c.isalpha() for c in found)
        and re.fullmatch(r"[A-Za-z_][\w.]*(?:[(\[].*)?", found) is None
    ) or (
        len(found) >= 8
        and sum(c.isdigit() for c in found) >= 2
        and any(c.isalpha() for c in found)
        and re.search(r"[.(\[_]", found) is None
    )


def _valued(kind: str, key: str, text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    of_a_thing = kind == "NAME" and is_of_a_thing(
        _ANY_KEY.findall(text, max(0, start - _NEAR), end + _NEAR)
    )
    found = type_of_value(kind, text[start:end], key, of_a_thing=of_a_thing)
    if found:
        yield Span(start, end, found)
