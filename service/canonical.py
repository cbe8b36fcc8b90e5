"""The keys by which emails and usernames are compared, and the normal form of passwords.

What was typed is kept and shown; the key is what is stored beside it, found, counted and compared.
Python makes all keys, because PostgreSQL's own functions depend on the database's locale.
"""

import hashlib
import re
import unicodedata
from typing import Final

import idna

KEY_MAX: Final = 1_024  # bytes; an index takes 2,700
# Characters; longer texts keep their form, for normalization takes time in the square of the
# length of a run of combining marks, and no address, name or password is that long.
NORMALIZED_MAX: Final = 1_024
_DOMAIN_MAX: Final = 253  # characters (RFC 1035, §2.3.4)
# Full stops of other scripts, which separate labels, too (RFC 3490, §3.1).
_STOPS: Final = re.compile("[\u3002\uff0e\uff61]")
_SPACES: Final = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def email_key(address: str) -> str:
    """Return the key of an email address, the same for every spelling of it.

    The local part is compared without regard to case and compatibility (`caseless`), the domain as
    lower-case A-labels by IDNA 2008 (RFC 5891) after the mapping of UTS 46, so that faß.de is not
    fass.de. Any other text has a key, too. A key has at most KEY_MAX bytes.
    """
    if address.isascii():
        key = address.lower()
    else:
        local, at, domain = address.rpartition("@")
        key = f"{caseless(local)}{at}{_domain_key(domain) if at else caseless(domain)}"
    return _bounded(key)


def username_key(username: str) -> str:
    """Return the key of a username: its letters in lower case, like `caseless`."""
    return _bounded(caseless(username))


def caseless(text: str) -> str:
    """Return a text in NFKC and case folded, which is the compatibility caseless match.

    The definition is D146 of the Unicode Standard, §3.13. Beyond NORMALIZED_MAX characters only the
    case is folded.
    """
    if text.isascii():
        return text.lower()
    if len(text) > NORMALIZED_MAX:
        return text.casefold()
    folded = unicodedata.normalize("NFD", text).casefold()
    folded = unicodedata.normalize("NFKD", folded).casefold()
    return unicodedata.normalize("NFKC", folded)


def normalize_password(password: str) -> str:
    """Return a password in NFC with every space as U+0020 (RFC 8265, §4.2.2).

    One of more than NORMALIZED_MAX characters, which no account has, is returned as it is.
    """
    if len(password) > NORMALIZED_MAX:
        return password
    return unicodedata.normalize("NFC", _SPACES.sub(" ", password))


def _domain_key(domain: str) -> str:
    """Return a domain's labels as A-labels, and what UTS 46 does not allow as `caseless` does."""
    try:
        # Longer ones would cost much: Punycode, too, takes time in the square of the length.
        if len(domain) > _DOMAIN_MAX:
            raise idna.IDNAError("too long")
        domain = unicodedata.normalize("NFC", domain)
        mapped = idna.uts46_remap(domain, std3_rules=False)
    except idna.IDNAError:
        return _STOPS.sub(".", caseless(domain))
    return ".".join(map(_label_key, mapped.split(".")))


def _label_key(label: str) -> str:
    # Not by the library's alabel(), which refuses labels that imported addresses may have.
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def _bounded(key: str) -> str:
    encoded = key.encode(errors="surrogatepass")
    return key if len(encoded) <= KEY_MAX else f"sha256:{hashlib.sha256(encoded).hexdigest()}"
