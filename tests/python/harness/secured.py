"""Servers that speak TLS to clients, and may ask each for its certificate and its password."""

import shutil

import pytest

from .certificates import Authority

MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule required"
PASSWORD = "secret"


def keys(flavour, folder, user=None):
    """The authority and the keys of the configuration. With a `user` every client has to have a certificate,
    `client` of this authority, and to log in as that user by SASL; without one a client may be anybody.

    The port is also open to clients without TLS, so that the harness reaches the servers. Skips with the reason where
    that cannot be."""
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper needs another configuration for TLS and SASL")
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    authority = Authority(folder / "keys")
    authority.make("server")
    made = {
        "client.portUnification": "true",
        "ssl.keyStore.location": authority.folder / "server.pem",
        "ssl.trustStore.location": authority.pem,
    }
    if user is None:
        return authority, made | {"ssl.clientAuth": "none"}
    authority.make("client")
    users = folder / "users"
    users.write_text(f'Server {{ {MODULE} user_{user}="{PASSWORD}"; }};\n')
    return authority, made | {
        "java.security.auth.login.config": users,
        "authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "enforce.auth.enabled": "true",
        "enforce.auth.schemes": "sasl",
    }
