#!/usr/bin/env python3
"""Makes the seeds that no traffic has to be recorded for: of the targets login, membership and tls_files.

    python3 fuzz/make_seeds.py

Files of TLS are made by `openssl` and `keytool`, of the key in fuzz/src/own.pem, which is nobody's.
"""

import hashlib
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEEDS = HERE / "seeds"
PASSWORD = "changeit"


def write(target, inputs):
    folder = SEEDS / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def script(*words):
    """Numbers are bytes, bytes stand behind their length."""
    return b"".join(bytes([word]) if isinstance(word, int) else struct.pack(">H", len(word)) + word for word in words)


def digest_md5(user, password, nonce, cnonce):
    md5 = lambda data: hashlib.md5(data)
    realm, uri, count = b"zk-sasl-md5", b"zookeeper/zk-sasl-md5", b"00000001"
    secret = md5(user + b":" + realm + b":" + password).digest() + b":" + nonce + b":" + cnonce
    proof = [md5(secret).hexdigest().encode(), nonce, count, cnonce, b"auth"]
    proof.append(md5(b"AUTHENTICATE:" + uri).hexdigest().encode())
    response = md5(b":".join(proof)).hexdigest().encode()
    return b'charset=utf-8,username="%s",realm="%s",nonce="%s",nc=%s,cnonce="%s",digest-uri="%s",maxbuf=65536,response=%s,qop=auth' % (
        user, realm, nonce, count, cnonce, uri, response
    )


def login():
    jaas = b'Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  user_super="adminsecret" // all\n  user_bob="secret";\n};\n'
    jaas += b'QuorumServer { org.apache.zookeeper.server.auth.DigestLoginModule required user_test="test"; };\n'
    jaas += b'QuorumLearner { org.apache.zookeeper.server.auth.DigestLoginModule required username="test" password="test"; };\n'
    proof = digest_md5(b"bob", b"secret", b"nonce", b"cnonce")
    challenge = b'realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess'
    yield script(0, jaas)
    yield script(1, 2, b"", proof)
    yield script(1, 3, b"", proof.replace(b"response=", b"response=0"), proof)
    yield script(1, 2, b"n,,n=bob,r=cnonce", b"c=biws,r=cnoncenonce,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    yield script(2, challenge, b"rspauth=ea40f60335c427b5527b84dbabcdfffd")
    yield script(2, b"r=cnonceserver,s=QSXCR+Q6sek8bf92,i=4096", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")


def texts(flag, first, second, last):
    """A switch and three texts as the crate `arbitrary` takes them: lengths stand at the end, backwards."""
    width = lambda length: 1 if length + 1 <= 256 else 2
    lengths = b""
    for text, behind in ((second, last), (first, second + last)):
        lengths += len(text).to_bytes(width(len(text) + len(behind) + len(lengths)), "big")
    return bytes([flag]) + first + second + last + lengths


def membership():
    line = lambda server, role="participant": b"server.%d=h%d:2888:3888:%s;2181" % (server, server, role.encode())
    three = b"\n".join(line(server) for server in (1, 2, 3)) + b"\nversion=100000001"
    groups = three + b"\ngroup.1=1:2\ngroup.2=3\nweight.1=2"
    several = b"server.1=a:1:2|b:1:2:participant;0.0.0.0:2181;2281\n" + line(2) + b"\n" + line(3, "observer")
    yield texts(1, three, line(4), b"")
    yield texts(1, three, b"", b"2,3")
    yield texts(0, three, line(2, "observer") + b"," + line(4), b"3")
    yield texts(1, groups, line(1) + b"," + line(2) + b",group.1=1:2", b"")
    yield texts(1, several, b"", b"1")


def tls_files():
    own = HERE / "src" / "own.pem"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)

        def run(*words):
            subprocess.run(words, check=True, capture_output=True, cwd=folder)

        secret = ["-passout", f"pass:{PASSWORD}"]
        run("openssl", "pkcs12", "-export", "-in", own, *secret, "-iter", "1", "-name", "own", "-out", "quick.p12")
        run("openssl", "pkcs12", "-export", "-in", own, *secret, "-name", "own", "-out", "own.p12")
        run("openssl", "pkcs8", "-topk8", "-in", own, *secret, "-iter", "10", "-out", "key.pem")
        run("openssl", "x509", "-in", own, "-out", "own.crt")
        run("keytool", "-importcert", "-noprompt", "-file", own, "-keystore", "trust.p12", "-storetype", "PKCS12", "-storepass", PASSWORD)
        (folder / "index").touch()
        (folder / "number").write_text("01")
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n"
            "default_crl_days=36500\ncrl_extensions=ext\n[ext]\nauthorityKeyIdentifier=keyid\n"
        )
        authority = ("openssl", "ca", "-config", "ca.cnf", "-cert", own, "-keyfile", own)
        run(*authority, "-revoke", own)
        run(*authority, "-gencrl", "-out", "crl.pem")
        run("openssl", "crl", "-in", "crl.pem", "-outform", "der", "-out", "crl.der")
        read = lambda name: (folder / name).read_bytes()
        files = [(0, own.read_bytes()), (0, read("own.crt") + read("key.pem")), (1, read("own.p12")), (1, read("quick.p12"))]
        files += [(2, own.read_bytes()), (3, read("trust.p12")), (4, read("crl.pem")), (4, read("crl.der"))]
    return [bytes([kind]) + data for kind, data in files]


if __name__ == "__main__":
    for make in (login, membership, tls_files):
        write(make.__name__, make())
