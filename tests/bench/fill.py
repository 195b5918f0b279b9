"""What the analyzer's benchmark works on: messages in a queue, as the receiver leaves them."""

import json
import os
import random
import re

SUBJECT = re.compile(rb"^Subject:[^\r\n]*", re.M | re.I)
SOURCES = 500
RECIPIENTS = 5000


def envelope(r, number):
    """The line that leads a queue file."""
    fields = {
        "session": f"{number // 7:016x}",
        "received_at": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{r.randrange(10**6):06}Z",
        "sensor": "bench",
        "src_ip": f"198.51.{r.randrange(2)}.{r.randrange(SOURCES // 2)}",
        "src_port": r.randrange(1024, 65536),
        "dst_ip": "192.0.2.1",
        "dst_port": 25,
        "helo": "spammer.example",
        "mail_from": f"sender{r.randrange(10**6)}@example.net",
        "rcpt_to": [f"user{r.randrange(RECIPIENTS)}@example.com"],
        "user": None,
        "tls": None,
    }
    return b"X-Shiva-Envelope: " + json.dumps(fields).encode() + b"\r\n"


def varied(message, tag):
    """The message with a tag at the end of its subject."""
    return SUBJECT.sub(lambda match: match[0] + b" " + tag, message, count=1)


def corpus(directory):
    """The messages of the public corpus, as they come through SMTP."""
    messages = []
    for path, _, files in sorted(os.walk(directory)):
        for file in sorted(files):
            with open(os.path.join(path, file), "rb") as content:
                data = content.read()
            if data.startswith(b"From "):
                data = data.partition(b"\n")[2]
            messages.append(re.sub(rb"(?<!\r)\n", b"\r\n", data))
    return messages


def fill(queue, messages):
    """Puts the messages into a new maildir under names as the receiver gives them."""
    for part in ("tmp", "new", "cur"):
        os.makedirs(os.path.join(queue, part))
    r = random.Random(4)
    token = f"{r.getrandbits(64):016x}"
    tmp = os.path.join(queue, "tmp", "file")
    for number, message in enumerate(messages):
        file = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(file, envelope(r, number) + message)
        inode = os.fstat(file).st_ino
        os.close(file)
        name = f"{1767225600 + number}.M{number:06}P1Q{number}R{token}I{inode}"
        os.rename(tmp, os.path.join(queue, "new", name))
