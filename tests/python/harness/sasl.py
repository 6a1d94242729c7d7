"""The client's side of SASL, made of nothing but hashes: DIGEST-MD5 as ZooKeeper has it, and SCRAM-SHA-256."""

import base64
import hashlib
import hmac
import os

from . import jute

REALM, URI = "zk-sasl-md5", "zookeeper/zk-sasl-md5"


def op(token):
    """The request with a token; None is null."""
    return jute.raw(jute.SASL, jute.buffer(token), f"sasl {token!r}"[:60])


def step(client, token):
    """Sends a token; returns the error and the server's token, None where it is null or missing."""
    reply = client.call(op(token))
    return reply.error, jute.Reader(reply.body).buffer() if len(reply.body) >= 4 else None


def directives(challenge):
    """A challenge of DIGEST-MD5 as a dict."""
    pairs = (part.split("=", 1) for part in challenge.decode().split(","))
    return {key: value.strip('"') for key, value in pairs}


def response(challenge, user, password, **changed):
    """What DIGEST-MD5 answers to the challenge. `changed` directives take the place of the right ones, behind the
    computation; None leaves one out."""
    nonce, cnonce, authzid = directives(challenge)["nonce"], os.urandom(8).hex(), changed.get("authzid")
    a1 = _md5(b":".join(map(_narrow, (user, REALM, password)))).digest() + f":{nonce}:{cnonce}".encode()
    if authzid is not None:
        a1 += f":{authzid}".encode()
    a2 = _md5(f"AUTHENTICATE:{URI}".encode()).hexdigest()
    proof = _md5(f"{_md5(a1).hexdigest()}:{nonce}:00000001:{cnonce}:auth:{a2}".encode()).hexdigest()
    values = {
        "charset": "utf-8",
        "username": f'"{user}"',
        "realm": f'"{REALM}"',
        "nonce": f'"{nonce}"',
        "nc": "00000001",
        "cnonce": f'"{cnonce}"',
        "digest-uri": f'"{URI}"',
        "maxbuf": "65536",
        "response": proof,
        "qop": "auth",
    }
    values.update({key.replace("_", "-"): value for key, value in changed.items()})
    return ",".join(f"{key}={value}" for key, value in values.items() if value is not None).encode()


def digest_md5(client, user, password, **changed):
    """A whole exchange; the error and the token of the last answer."""
    error, challenge = step(client, b"")
    if error != jute.OK or challenge is None:
        return error, challenge
    return step(client, response(challenge, user, password, **changed))


def scram(client, user, password):
    """A whole exchange of SCRAM-SHA-256; the error of the last answer. Fails if the server does not know the password."""
    nonce = os.urandom(12).hex()
    bare = f"n={user},r={nonce}"
    error, first = step(client, f"n,,{bare}".encode())
    assert error == jute.OK, error
    values = dict(part.split("=", 1) for part in first.decode().split(","))
    assert values["r"].startswith(nonce) and len(values["r"]) > len(nonce)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(values["s"]), int(values["i"]))
    key = _mac(salted, b"Client Key")
    without_proof = f"c={base64.b64encode(b'n,,').decode()},r={values['r']}"
    said = f"{bare},{first.decode()},{without_proof}".encode()
    signature = _mac(hashlib.sha256(key).digest(), said)
    proof = base64.b64encode(bytes(one ^ other for one, other in zip(key, signature))).decode()
    error, last = step(client, f"{without_proof},p={proof}".encode())
    if error == jute.OK:
        assert last == b"v=" + base64.b64encode(_mac(_mac(salted, b"Server Key"), said))
    return error


def _narrow(text):
    """What DIGEST-MD5 hashes: ISO-8859-1 where that has all characters."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data):
    return hashlib.md5(data)


def _mac(key, data):
    return hmac.new(key, data, "sha256").digest()
