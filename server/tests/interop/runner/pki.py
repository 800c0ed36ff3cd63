"""Certificates for one run: two roots that know nothing of each other, a leaf for every identity."""

import subprocess
from dataclasses import dataclass

AUTHORITY = "interop.example.com"

CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF_EXTENSIONS = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName={names}
"""
KEY_KINDS = {
    "ed25519": ["-algorithm", "ED25519"],
    "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
}


@dataclass(frozen=True)
class Identity:
    name: str
    account: str
    names: str
    key: str
    issuer: str


def mail(name, key, issuer="root"):
    account = f"{name}@{AUTHORITY}"
    return Identity(name, account, f"email:{account}", key, issuer)


def spiffe(name, path, key, issuer="root"):
    account = f"spiffe://{AUTHORITY}/{path}"
    return Identity(name, account, f"URI:{account}", key, issuer)


# Both kinds of keys, both kinds of names, with and without an intermediate.
IDENTITIES = {
    identity.name: identity
    for identity in (
        mail("python-client", "p256"),
        mail("python-server", "p256"),
        mail("go-client", "ed25519"),
        mail("go-server", "ed25519"),
        mail("java-client", "p256", "intermediate"),
        mail("java-server", "ed25519", "intermediate"),
        spiffe("envoy-client", "envoy/client", "ed25519"),
        spiffe("envoy-server", "envoy/server", "p256", "intermediate"),
        mail("rust-client", "p256", "intermediate"),
        mail("rust-server", "ed25519"),
        mail("go-unix", "ed25519"),
        mail("rust-unix", "p256"),
        mail("envoy-unix", "p256"),
    )
}
# Of the same authority by its own word only: its root is not configured for the others.
INTRUDER = mail("intruder", "p256", "foreign")


class Authority:
    """Files NAME.key and NAME.pem of everybody, in one directory."""

    def __init__(self, directory):
        self._directory = directory
        for name in ("root", "foreign"):
            self._issue(name, "p256", CA_EXTENSIONS, name)
        self._issue("intermediate", "ed25519", CA_EXTENSIONS, "root")
        for identity in (*IDENTITIES.values(), INTRUDER):
            extensions = LEAF_EXTENSIONS.format(names=identity.names)
            self._issue(identity.name, identity.key, extensions, identity.issuer)
            if identity.issuer == "intermediate":
                self._append(identity.name, "intermediate")

    def _issue(self, name, key, extensions, issuer):
        (self._directory / f"{name}.ext").write_text(extensions)
        self._openssl("genpkey", *KEY_KINDS[key], "-out", f"{name}.key")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signer = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"]
        if issuer == name:
            signer = ["-signkey", f"{name}.key"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-days", "2",
                      "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def _append(self, name, issuer):
        issuer_pem = (self._directory / f"{issuer}.pem").read_text()
        with (self._directory / f"{name}.pem").open("a") as chain:
            chain.write(issuer_pem)

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True,
                       capture_output=True, timeout=60)
