"""Certificates that are made for one test, by the command `openssl`."""

import subprocess

PASSWORD = "changeit"


def _run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"


class Authority:
    """Signs certificates; every file is in its folder."""

    def __init__(self, folder, name="ca"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.pem = folder / f"{name}.pem"
        key = folder / f"{name}.key"
        extensions = ["-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=keyCertSign,cRLSign"]
        _run("openssl", "req", "-x509", *_new_key(key), "-out", self.pem, "-days", "10", "-subj", f"/CN={name}", *extensions)

    def make(self, name, hosts=("DNS:localhost", "IP:127.0.0.1"), subject=None, days=10):
        """A certificate with its key in `name.pem`; the key alone is `name.key`, the certificate alone `name.crt`."""
        key, request, out = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        subject = subject or f"/O=Ex/CN={name}"
        _run("openssl", "req", "-new", *_new_key(key), "-out", request, "-utf8", "-subj", subject)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(hosts)}\n" if hosts else "basicConstraints=CA:false\n")
        _run(
            "openssl", "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.folder / f"{self.name}.key",
            "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", out,
        )
        pem = self.folder / f"{name}.pem"
        pem.write_text(out.read_text() + key.read_text())
        return pem

    def revoke(self, *names):
        """A list of the certificates that count no more."""
        out, index, settings = (self.folder / f"{self.name}.{kind}" for kind in ("crl", "index", "cnf"))
        index.write_text("")
        (self.folder / f"{self.name}.number").write_text("01")
        settings.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\ncrlnumber={self.folder}/{self.name}.number\n"
            "default_md=sha256\ndefault_crl_days=10\ncrl_extensions=extensions\n"
            "[extensions]\nauthorityKeyIdentifier=keyid\n"
        )
        own = ("openssl", "ca", "-config", settings, "-cert", self.pem, "-keyfile", self.folder / f"{self.name}.key")
        for name in names:
            _run(*own, "-revoke", self.folder / f"{name}.crt")
        _run(*own, "-gencrl", "-out", out)
        return out

    def encrypt(self, name):
        """The key in `name.pem` gets `PASSWORD`."""
        out = self.folder / f"{name}.enc"
        key = self.folder / f"{name}.key"
        _run("openssl", "pkcs8", "-topk8", "-in", key, "-passout", f"pass:{PASSWORD}", "-out", out)
        (self.folder / f"{name}.pem").write_text((self.folder / f"{name}.crt").read_text() + out.read_text())

    def pkcs12(self, name):
        """The certificate `name` and its key as PKCS12, with `PASSWORD`."""
        out = self.folder / f"{name}.p12"
        pem = self.folder / f"{name}.pem"
        _run("openssl", "pkcs12", "-export", "-in", pem, "-passout", f"pass:{PASSWORD}", "-name", name, "-out", out)
        return out

    def pkcs12_trust(self):
        """The authority's own certificate as PKCS12, as `keytool` writes it, with `PASSWORD`."""
        out = self.folder / f"{self.name}-trust.p12"
        _run(
            "keytool", "-importcert", "-noprompt", "-alias", self.name, "-file", self.pem, "-keystore", out,
            "-storetype", "PKCS12", "-storepass", PASSWORD,
        )
        return out


def _new_key(path):
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)
