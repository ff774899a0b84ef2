"""The site's key: what signs evidence and the head of the audit log. Ed25519, in a file of its owner's alone."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from watchline.pipeline.files import BINARY, writing
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_VARIABLE: Final = "WATCHLINE_SITE_KEY"
_OPTION: Final = "--site-key"
_MOST_BYTES: Final = 16_384  # of a file with a key


def default_key() -> Path:
    """Returns where the site's key lies: what `WATCHLINE_SITE_KEY` names, or a place in this user's data folder."""
    named = os.environ.get(KEY_VARIABLE, "")
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("watchline", appauthor=False) / "site.key"


class PublicKey:
    """What checks signatures; it may be given to anybody.

    Attributes:
        raw: its 32 bytes.
    """

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.raw = key.public_bytes_raw()

    @classmethod
    def from_pem(cls, data: bytes, name: str) -> Self:
        """Returns the key in `data`, which is called `name` in errors.

        Raises:
            UsageError: it holds no Ed25519 public key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if b"PRIVATE KEY" in data:
            raise UsageError(f"{name}: is a private key; give the public one, `watchline export key` prints it")
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(
                f"{name}: holds no public key, or a damaged one; want what `watchline export key` prints"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError(f"{name}: is a key of another kind; want an Ed25519 one")
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the key in a file.

        Raises:
            UsageError: it cannot be read, or holds no such key.
        """
        return cls.from_pem(_read(path, "--key"), str(path))

    @property
    def pem(self) -> bytes:
        """The key as a file of text."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the raw key, in hex: what people compare."""
        return hashlib.sha256(self.raw).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Was `data` signed by the private half of this key?"""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SiteKey:
    """What signs.

    Attributes:
        public: the other half.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the key in a file.

        Raises:
            UsageError: there is none, others may read it, or it holds something else.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        data = _read(path, _OPTION, private=True)
        try:
            key = load_pem_private_key(data, password=None)
        except TypeError as error:
            raise UsageError(f"{path}: the site's key asks for a password; watchline needs one without") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(
                f"{path}: holds no private key, or a damaged one; bring back a copy, or name another {_OPTION}"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"{path}: is a key of another kind; want an Ed25519 one; name another {_OPTION}")
        return cls(key)

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        """Returns the key in a file; where there is none, a new one is made there first.

        Raises:
            UsageError: see `load`.
            OutputError: it cannot be written.
        """
        if not os.path.lexists(path):
            _make(path)
        return cls.load(path)

    def sign(self, data: bytes) -> bytes:
        """Returns the signature of `data`, 64 bytes; the same for the same data."""
        return self._key.sign(data)


def _make(path: Path) -> None:
    """Writes a new key, whole or not at all; where another process was quicker, its key stays."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with writing(path, _OPTION):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(part, path)
            except FileExistsError:
                return
        finally:
            part.unlink(missing_ok=True)


def _read(path: Path, option: str, *, private: bool = False) -> bytes:
    """Returns what is in a file with a key.

    Raises:
        UsageError: it cannot be read, is no file, or is too large; others may read a private one.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise UsageError(f"{path}: is no file with a key; name another {option}")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > _MOST_BYTES:
                raise UsageError(f"{path}: is no file with a key; name another {option}")
            if private and sys.platform != "win32" and status.st_mode & 0o077:
                raise UsageError(
                    f"{path}: others may read the site's key (mode {stat.S_IMODE(status.st_mode):o}); "
                    f"chmod 600 {path}, and think about whether somebody did"
                )
            return file.read()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); {option} names it"
        ) from error
