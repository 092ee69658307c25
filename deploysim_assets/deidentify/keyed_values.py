"""What a key says of its value: `{"password": ..}`."""

import re
from collections.abc import Iterable
from functools import lru_cache

from deploysim_assets.deidentify.names import first_names, last_names
from deploysim_assets.deidentify.people import AMBIGUOUS
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
        passwordhash pwdhash phpsessid jsessionid sessid aspnetsessionid salt passworddigest xapikey
        xauthtoken proxyauthorization
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
    "MAC_ADDRESS": "macaddress macaddr hwaddr bssid",
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
_SECRET_ENDINGS = ("password", "passwd", "passphrase", "apikey", "secretkey", "accesstoken")
"""Of words written as one: `pgpassword`."""
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


def type_of_key(key: str) -> str | None:
    """The entity type that a key promises, or None."""
    return _type_of_start(key[:120])  # what is kept of keys stays small, however long they are


@lru_cache(maxsize=20_000)
def _type_of_start(key: str) -> str | None:
    words = [w.lower() for w in _WORDS.findall(key)]
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
    return "SECRET" if words[-1].endswith(_SECRET_ENDINGS) else None


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
