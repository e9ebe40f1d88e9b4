"""Makes berglas's envelopes without krun: prints the vectors of tests/testdata/vectors/berglas_envelope, by Python's cryptography.

The key service's own encryption is AES-256-GCM here, as in tests/fakes/google_secrets.ts: nonce, ciphertext, tag,
with the object's name as additional data.
"""
import base64
import json
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def seal(key, plaintext, additional):
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, additional)


def text(data):
    return base64.b64encode(data).decode()


def vector(name, why, bucket_object, plaintext):
    kms, dek = os.urandom(32), os.urandom(32)
    bucket, _, obj = bucket_object.partition("/")
    body = text(seal(kms, dek, obj.encode())) + ":" + text(seal(dek, plaintext, None))
    return {
        "id": name,
        "why": why,
        "input": {"bucket": bucket, "object": obj, "kmsKey": text(kms), "body": body},
        "expect": text(plaintext),
    }


ROWS = [
    vector("a password", "pkg/berglas/create.go", "my-secrets/db-pass", b"hunter2"),
    vector("a name with folders and a blank", "the additional data are the whole name, without the bucket", "my-secrets/prod/db pass", b"hunter2\n"),
    vector("a name that is not ASCII", "the additional data are UTF-8", "my-secrets/\u00fcber", "\u00fc".encode()),
    vector("nothing", "a tag alone", "my-secrets/empty", b""),
    vector("bytes", "a key file", "my-secrets/key.der", bytes(range(256))),
]

if __name__ == "__main__":
    print("[\n" + ",\n".join("  " + json.dumps(row) for row in ROWS) + "\n]")
