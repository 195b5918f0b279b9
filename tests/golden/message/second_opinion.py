#!/usr/bin/env python3
"""A second opinion on messages, by Python's email package.

usage: second_opinion.py DIRECTORY...

Prints one JSON object a line for every .eml file below the directories: `sha256` of
the file, `subject`, `body` (text, LF line ends), `kind` of the body (html, text,
none) and `attachments` (SHA-256 of each one's content, null where the email package
does not keep the bytes). The rules are those of src/message; the splitting,
decoding and charsets are the email package's own.
"""

import email
import email.header
import email.policy
import hashlib
import json
import pathlib
import sys


def decoded_subject(message):
    """The first Subject: unfolded, RFC 2047 decoded, trimmed."""
    values = [v for k, v in message.raw_items() if k.lower() == "subject"]
    if not values:
        return ""
    raw = str(values[0]).encode("ascii", "surrogateescape").decode("utf-8", "replace")
    raw = raw.replace("\r", "").replace("\n", "")
    try:
        pieces = email.header.decode_header(raw)
    except Exception:
        pieces = [(raw, None)]
    out = ""
    for piece, charset in pieces:
        out += piece if isinstance(piece, str) else to_text(piece, charset, raw_words=True)
    return out.strip()


def to_text(data, charset, raw_words=False):
    """Bytes to text by the charset's name; UTF-8 when it is unknown."""
    name = (charset or "utf-8").lower()
    if raw_words and charset is None:
        # decode_header gives what stands outside of words in this encoding.
        try:
            return data.decode("raw-unicode-escape")
        except UnicodeError:
            return data.decode("latin-1")
    # What the label means on the web and in mail clients (encoding.spec.whatwg.org).
    name = {
        "iso-8859-1": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252",
        "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030",
        "iso-8859-9": "cp1254", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
        "windows-874": "cp874", "shift_jis": "cp932", "tis-620": "cp874",
    }.get(name, name)
    try:
        return data.decode(name, "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def leaves(part):
    """Leaves in message order; a message that is an attachment is one."""
    kind = part.get_content_type()
    attached = part.get_content_disposition() == "attachment"
    if kind in ("message/rfc822", "message/global") and attached:
        yield part
    elif kind.startswith("message/") and kind not in ("message/rfc822", "message/global"):
        yield part  # the package splits these too, and does not keep their bytes
    elif part.is_multipart():
        for child in part.get_payload():
            yield from leaves(child)
    else:
        yield part


def opinion(raw):
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    bodies = {"text/html": "", "text/plain": ""}
    attachments = []
    for leaf in leaves(message):
        kind = leaf.get_content_type()
        if leaf.get_content_maintype() == "multipart":
            kind = "text/plain"
        attached = leaf.get_content_disposition() == "attachment"
        data = None
        if not leaf.is_multipart():
            data = leaf.get_payload(decode=True) or b""
        if not attached and data and not bodies.get(kind, "x"):
            text = to_text(data, leaf.get_content_charset())
            bodies[kind] = text.replace("\r\n", "\n")
        named = leaf.get_param("filename", header="content-disposition") is not None
        if attached or named or kind not in bodies:
            attachments.append(hashlib.sha256(data).hexdigest() if data is not None else None)
    html, text = bodies["text/html"], bodies["text/plain"]
    return {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "subject": decoded_subject(message),
        "kind": "html" if html else "text" if text else "none",
        "body": html or text,
        "attachments": attachments,
    }


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    for directory in sys.argv[1:]:
        for path in sorted(pathlib.Path(directory).rglob("*.eml")):
            try:
                answer = opinion(path.read_bytes())
            except Exception as error:  # what the package cannot read is said, not hidden
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                answer = {"sha256": digest, "error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer))


if __name__ == "__main__":
    main()
