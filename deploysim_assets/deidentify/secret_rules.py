"""Secrets by their shape: keys, tokens and headers of the services that mark theirs, key blocks,
and what stands behind a word such as password."""

import math
import re
from collections import Counter
from itertools import pairwise

import regex

from deploysim_assets.deidentify.linear import Linear
from deploysim_assets.deidentify.rules import NOT_IN_WORD, Rule, rule

_KEY_START = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_AFTER_WORD = r"(?<![0-9A-Za-z])"
_UNFINISHED = re.compile(
    r"\$\{?\w+\}?|\{\{.*\}\}|\{\w+\}|<[\w -]+>|%\w+%|[*•.xX]+|\[?redacted[\]\w-]*|"
    r"true|false|null|none|nil|undefined|string|required|optional|hidden|invalid|yes|no|your[-_]\w*",
    re.IGNORECASE,
)
"""What stands for a secret without being one: a variable, a mask, a word of a schema."""


def entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def is_filled_in(value: str) -> bool:
    """Whether a value is there, not a variable or a mask for one."""
    return len(value) >= 3 and _UNFINISHED.fullmatch(value) is None


def _is_mixed(found: str) -> bool:
    return bool(re.search(r"[0-9]", found)) and bool(re.search(r"[A-Za-z]", found))


_WORDS = re.compile(r"[A-Z]?[a-z]{3,}")


def _is_random(found: str) -> bool:
    """Drawn and not named: small letters, capitals and digits that take turns at nearly every
    character, where a name such as `camelCase2Name` is made of words."""
    if found.islower():
        return False
    kinds = [1 if c.isdigit() else 2 if c.isupper() else 3 for c in found if c.isalnum()]
    turns = sum(a != b for a, b in pairwise(kinds))
    return (
        all(kinds.count(k) >= 2 for k in (1, 2, 3))
        and turns >= 0.45 * (len(kinds) - 1)
        and sum(map(len, _WORDS.findall(found))) < 0.55 * len(kinds)
    )


def _is_password(found: str) -> bool:
    """Behind a word in prose: letters with digits or signs."""
    return is_filled_in(found) and (
        _is_mixed(found) or bool(re.search(r"[A-Za-z][!@#$%^&*+=~][\w!@#$%^&*+=~]", found))
    )


SECRET_RULES = (
    rule(
        "API_KEY",
        r"(?:sk|pk|rk)[-_](?:[A-Za-z0-9]{1,40}[-_]){0,4}[A-Za-z0-9]{16,}(?:[-_][A-Za-z0-9_-]{4,})?",
        before=_AFTER_WORD,
        keywords="sk- sk_ pk- pk_ rk- rk_",
    ),
    rule(
        "API_KEY",
        r"(?:github_pat_[A-Za-z0-9_]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|gl(?:pat|ptt|dt|rt|cbt"
        r"|oas)-[A-Za-z0-9_=.-]{20,}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{20,}|hf_[A-Za-z0-9]{30,}"
        r"|npm_[A-Za-z0-9]{36}"
        r"|pypi-[A-Za-z0-9_-]{50,}|dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|shp(?:at|ca|pa"
        r"|ss)_[a-fA-F0-9]{32})",
        keywords="github_pat_ ghp_ gho_ ghu_ ghs_ ghr_ glpat- glptt- gldt- glrt- glcbt- gloas- xox "
        "xapp- hf_ npm_ pypi- dckr_ shpat_ shpca_ shppa_ shpss_",
    ),
    rule(
        "API_KEY",
        r"(?:(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}"
        r"|ya29\.[A-Za-z0-9_.-]{16,}|1//0[A-Za-z0-9_-]{30,}"
        r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
        **NOT_IN_WORD,
        keywords="akia asia abia acca aiza gocspx- ya29. 1//0 sg.",
    ),
    rule(
        "API_KEY",
        r"(?:do[opr]_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}|hv[sbr]\.[A-Za-z0-9_-]{20,}"
        r"|ATATT3[A-Za-z0-9_=-]{30,}"
        r"|(?:gsk|xai|tvly|pplx|nvapi|figd|r8|lin_api|lin_oauth|ntn|secret|sbp|whsec|pscale_tkn"
        r"|pscale_pw|rnd|"
        r"sq0atp|sq0csp|EAAC|EAAA|phc|phx|key|re|napi|fo1|vercel|tskey|jina|fw"
        r"|csk)[-_][A-Za-z0-9_-]{24,}"
        r"|sq0atp-[A-Za-z0-9_-]{22}|AGE-SECRET-KEY-1[A-Z0-9]{50,})",
        lambda found: _is_mixed(found) and entropy(found[-24:]) >= 3.0,
        **NOT_IN_WORD,
        keywords="_v1_ dapi hvs. hvb. hvr. atatt3 gsk_ xai- tvly- pplx- nvapi- figd_ r8_ lin_ ntn_ "
        "secret_ sbp_ whsec_ pscale_ rnd_ sq0 eaac eaaa phc_ phx_ key- "
        "re_ napi_ fo1_ vercel_ tskey- "
        "jina_ fw_ csk- age-secret",
    ),
    rule(
        "API_KEY",
        r"(?:(?:pul|rubygems|sntryu|lsv2_[ps][tk]|shippo_(?:live|test)|v1\.0)[-_][a-f0-9_-]{24,}"
        r"|[ps]k-lf-[a-f0-9-]{36}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|NRAK-[A-Z0-9]{27}"
        r"|API-[A-Z0-9]{25,27}|dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{60,}|oy2[a-z0-9]{43}"
        r"|LTAI[0-9A-Za-z]{16,20}|[a-f0-9]{32}-us[0-9]{1,2}|[01]/[0-9]{16}:[a-f0-9]{32}|pat[A-Za-z0-9]{14}\.[a-f0-9]{64})",
        _is_mixed,
        before=r"(?<![0-9A-Za-z])",
        after=r"(?![0-9A-Za-z])",
        gate=r"pul-|rubygems_|sntryu_|lsv2_|shippo_|v1\.0-|k-lf-|PMAK-|NRAK-|API-|dt0c01\.|oy2"
        r"|LTAI|-us[0-9]|[01]/[0-9]{5}|pat[A-Za-z0-9]{14}\.",
    ),
    rule(
        "API_KEY", r"(?:AC|SK)[a-f0-9]{32}", _is_mixed, **NOT_IN_WORD, gate=r"(?:AC|SK)[a-f0-9]{8}"
    ),  # Twilio
    rule(
        "API_KEY",
        r"(?:[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}"
        r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33})",
        **NOT_IN_WORD,
        long_runs=True,
    ),
    rule(
        "API_KEY",
        r"(?i:hooks\.slack\.com/(?:services|workflows|triggers)"
        r"|discord(?:app)?\.com/api/webhooks)/([A-Za-z0-9_/-]{20,})",
        part=1,
        keywords="hooks.slack.com api/webhooks",
    ),
    rule("JWT", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.?[A-Za-z0-9_-]*", keywords="eyj"),
    Rule(
        "PRIVATE_KEY",
        Linear(_KEY_START),
        regex.compile(rf"(?s){_KEY_START}.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"),
        keywords=(b"private key",),
    ),
    rule(
        "SECRET",
        r"(?i:jdbc:oracle:\w{2,10}:[\w.-]{1,60}/)([^\s@/\"']{3,100})",
        part=1,
        keywords="jdbc:oracle",
    ),
    rule("URL_CREDENTIALS", r"[^\s/@:]+:[^\s/@]+@[^\s/?#]+", lead="://"),
    rule(
        "SECRET",
        r"(?i:\b(?:bearer|basic|token|apikey|negotiate"
        r"|digest)\s{1,3})([A-Za-z0-9+/_.~-]{12,}={0,3})",
        lambda found: _is_mixed(found) or (len(found) >= 16 and found.endswith("=")),
        part=1,
        keywords="bearer basic token apikey negotiate digest",
    ),
    rule(
        "SECRET",
        r"(?i:aws.{0,20}?(?:secret"
        r"|key)[^A-Za-z0-9\n]{0,3}(?:access)?[^A-Za-z0-9\n]?(?:key)?)[^A-Za-z0-9\n]{1,6}"
        r"(?i:is\s)?([A-Za-z0-9/+]{40})",
        after=r"(?![A-Za-z0-9/+=])",
        part=1,
        keywords="aws",
    ),
    rule(
        "SECRET",
        r"[A-Za-z0-9/+]{40}",
        lambda found: (
            entropy(found) >= 4.3
            and bool(re.search("[a-z]", found) and re.search("[A-Z]", found))
            and bool(re.search("[0-9]", found))
        ),
        before=r"(?<![A-Za-z0-9/+_=-])",
        after=r"(?![A-Za-z0-9/+_=-])",
        long_runs=True,
    ),
    Rule(  # of any service: what is drawn by lot names something that is nobody else's
        "SECRET",
        Linear(r"[0-9A-Za-z]{20}"),
        regex.compile(
            r"(?<=(?<![0-9A-Za-z_~+=-])((?:[0-9A-Za-z]{1,40}[_~+=-]{1,2}){0,6}))"
            r"[0-9A-Za-z]{20,}(?:[_~+/=-]{1,2}[0-9A-Za-z]+|\.[0-9A-Za-z_-]{16,})*={0,2}"
        ),
        _is_random,
        back=True,
        long_runs=True,
    ),
    rule(
        "SECRET",
        r"\$(?:apr1|1|2[abxy]?|5|6|y|gy|argon2i?d?|pbkdf2[a-z0-9-]*|scrypt)\$[./A-Za-z0-9$=,+-]{20,}",
        lambda found: found.count("$") >= 3 and _is_mixed(found[4:]),
        gate=r"\$(?:apr1|[1256]|2[abxy]|g?y|argon2|pbkdf2|scrypt)[a-z0-9-]{0,10}\$",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:proxy-)?authorization[\"']{0,2}\s{0,2}[:=]\s{0,2}[\"']?"
        r"(?:bearer|basic|token|apikey|negotiate|digest)\s{1,3})([^\s\"'`,;<>{}$]{4,4000})",
        is_filled_in,
        part=1,
        keywords="authorization",
    ),
    rule(
        "SECRET",
        r"(?:sshpass -p ?|(?:mysql|mariadb)\w*[^\n]{0,200}? -p"
        r"|(?:docker|podman|helm|oc) login[^\n]{0,200}? (?:-p|--password)[ =]"
        r"|redis-cli[^\n]{0,200}? -a ?|mongo\w*[^\n]{0,200}? -p ?"
        r"|machine \S{1,80} login \S{1,80} password )"
        r"[\"']?([^\s\"'`,;()<>\[\]{}$-][^\s\"'`,;()<>\[\]{}$]{3,200})",
        is_filled_in,
        part=1,
        keywords="sshpass mysql mariadb login redis-cli mongo",
    ),
    rule(
        "SECRET",
        r"(?i:[?&](?:key|code|auth_?code|ticket|otp|invite|hash|s|t)=)([A-Za-z0-9%/_.~-]{10,1000})",
        _is_mixed,
        part=1,
        keywords="?key= &key= code= ticket= otp= invite= hash= ?s= &s= ?t= &t=",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:seed|recovery|mnemonic|backup)(?: (?:phrase|words|seed))?(?: is| are)?"
        r"[ :=\"'`]{1,4})"
        r"((?:[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})",
        after=r"(?![a-z])",
        part=1,
        gate=r"(?i)(?:seed|recovery|mnemonic|backup)(?: phrase| words| seed|[ :=])",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:your|my|the|security|confirmation|login|sms|2fa|mfa|authentication|sign-in) code"
        r"(?: is|:| =)+ ?)"
        r"([0-9]{4,8}|[0-9]{3}[- ][0-9]{3})",
        after=r"(?![0-9.,][0-9]|[0-9])",
        part=1,
        gate=r"(?i)code(?: is|:| =) ?[0-9]",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:credentials?|creds|log ?in(?: with)?)(?: are| is)?[ :=]{1,3}"
        r"[\w.@-]{2,40} ?[:/] ?)"
        r"([^\s\"'`,;()<>\[\]{}/]{4,60})",
        lambda found: _is_password(found) and not found.isdigit(),
        part=1,
        gate=r"(?i)credentials?[ :=]|creds[ :=]|log ?in(?: with)? ?[:=]",
    ),
    rule(
        "CRYPTO",
        r"0x[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?"
        r"|(?:ltc1|addr1|tb1|bnb1|cosmos1|bitcoincash:)[a-z0-9]{30,110}",
        _is_mixed,
        **NOT_IN_WORD,
        gate=r"0x[0-9a-fA-F]{8}|ltc1|addr1|tb1|bnb1|cosmos1|bitcoincash:",
    ),
    rule(
        "HANDLE",
        r"ssh-(?:rsa|dss|ed25519) AAAA[A-Za-z0-9+/=]{20}[A-Za-z0-9+/=]* "
        r"([\w.-]{1,60}@[\w.-]{1,60})",
        part=1,
        keywords="ssh-",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:AccountKey|SharedAccessKey|SharedSecret|sig|X-Amz-Signature|X-Amz-Credential"
        r"|X-Goog-Signature|"
        r"X-Amz-Security-Token|code_verifier)=)([A-Za-z0-9%/+_.-]{16,}={0,3})",
        part=1,
        keywords="accountkey= sharedaccesskey= sharedsecret= sig= x-amz- x-goog- code_verifier=",
    ),
    rule(
        "SECRET",
        r"(?i:\b(?:password|passwort|passcode|passphrase|contraseña|mot de passe|senha"
        r"|wachtwoord|pin code|pin|otp|"
        r"access code|one-time code|verification code|secret key|api key|api token|access token"
        r"|secret)"
        r"(?: is| was| to| ist| lautet| est| es|:| =|=)+\s{0,3}[\"'`]?)"
        r"([^\s\"'`,;()<>\[\]{}]{4,200})",
        lambda found: (
            _is_password(found.rstrip(".!?")) or (found.rstrip(".").isdigit() and len(found) <= 12)
        ),
        part=1,
        keywords="password passwort passcode passphrase contrase passe senha wachtwoord pin: otp "
        "access api one-time verification secret",
    ),
    rule(
        "SECRET",
        r"(?i:密码|密碼|パスワード|비밀번호|пароль|كلمة (?:المرور|السر))(?:[是为為はがは:： =]|это"
        r"|هي){0,4}([!-~]{4,100})",
        part=1,
    ),
    rule(
        "SECRET",
        r"(?:--?(?:password|passwd|token|secret|api-key|apikey)[= ]|(?i:curl)[^\n]{0,200}? (?:-u"
        r"|--user)[= ]?[\"']?[\w.@-]{1,60}:)"
        r"[\"']?([^\s\"'`,;()<>\[\]{}$]{4,200})",
        is_filled_in,
        part=1,
        keywords="--password --passwd --token --secret --api-key --apikey curl",
    ),
    rule(
        "SECRET",
        r"(?i:(?:^|[^a-z-])(?:set-)?cookie: ?)([^\n\"']{8,990})",
        lambda found: "=" in found,
        part=1,
        keywords="cookie:",
    ),
)
"""Facts from the public rule lists of gitleaks and detect-secrets (which prefix, which length) and
from the services' own pages."""
