#!/usr/bin/env python3
"""Sends stored messages through SMTP to a receiver on loopback.

    send.py --port PORT [--connections N] [--per-connection N] PATH...

PATH is a file or a directory of messages: `.eml` and other single messages, maildirs, mboxes.
The bytes go out as they are, 8-bit ones too, except that a bare LF becomes CRLF, as SMTP demands,
and the `From ` line that leads a stored message is left out. Each connection has an address of
its own in 127.0.0.0/8 and carries several messages. Prints the number of messages that were
answered with 250; exits 1 when some were refused, 2 when it could not go on.
"""

import argparse
import os
import re
import smtplib
import sys
import threading

BARE_LF = re.compile(rb"(?<!\r)\n")
# As a mail program writes it: `From sender Thu Aug 22 12:36:23 2002`.
SEPARATOR = re.compile(
    rb"^From [^\n]*[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [^\n]*\d{4}[^\n]*\n", re.M
)
QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
# Files of these names hold one message, whatever its text looks like.
SINGLE = (".eml", ".txt")


def files(path):
    """The regular files under a path, in name order; a maildir's tmp/ is unfinished."""
    if os.path.isfile(path):
        yield path
        return
    for directory, names, found in os.walk(path):
        if {"new", "cur"} <= set(names):
            names[:] = [name for name in names if name != "tmp"]
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(found):
            full = os.path.join(directory, name)
            if not name.startswith(".") and os.path.isfile(full):
                yield full


def messages(path):
    """The messages in a file."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(b"From "):
        yield data
        return
    directory = os.path.basename(os.path.dirname(path))
    if path.endswith(SINGLE) or directory in ("new", "cur"):
        yield data.partition(b"\n")[2]
        return
    starts = [
        match
        for match in SEPARATOR.finditer(data)
        if match.start() == 0 or data[: match.start()].endswith((b"\n\n", b"\n\r\n"))
    ]
    if not starts:
        yield data.partition(b"\n")[2]
    ends = [match.start() for match in starts[1:]] + [len(data)]
    for match, end in zip(starts, ends):
        message = data[match.end() : end]
        if end < len(data):
            message = message[: -2 if message.endswith(b"\r\n") else -1]
        yield QUOTED_FROM.sub(rb"\1", message)


class Sender:
    """Connections that share one supply of messages."""

    def __init__(self, port, per_connection, paths):
        self.port = port
        self.per_connection = per_connection
        self.supply = enumerate(m for p in paths for f in files(p) for m in messages(f))
        self.lock = threading.Lock()
        self.connections = 0
        self.accepted = 0
        self.refused = 0
        self.failure = None

    def next(self):
        with self.lock:
            return next(self.supply, None)

    def connect(self):
        with self.lock:
            self.connections += 1
            host = self.connections % 250 + 2
        return smtplib.SMTP(
            "127.0.0.1", self.port, "spammer.example", 60, source_address=(f"127.0.0.{host}", 0)
        )

    def run(self):
        try:
            self.send_all()
        except (smtplib.SMTPException, OSError) as error:
            self.failure = error

    def send_all(self):
        smtp, sent = None, 0
        while not self.failure and (item := self.next()):
            if smtp is None or sent == self.per_connection:
                if smtp:
                    smtp.quit()
                smtp, sent = self.connect(), 0
            number, message = item
            sent += 1
            try:
                smtp.sendmail(
                    f"sender{number}@example.net",
                    [f"user{number % 300}@example.com"],
                    BARE_LF.sub(b"\r\n", message),
                )
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                print(f"refused: message {number}: {error}", file=sys.stderr)
                with self.lock:
                    self.refused += 1
                smtp.close()
                smtp = None
            else:
                with self.lock:
                    self.accepted += 1
        if smtp:
            smtp.quit()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--per-connection", type=int, default=50)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    sender = Sender(options.port, options.per_connection, options.paths)
    threads = [threading.Thread(target=sender.run) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sender.accepted)
    if sender.failure:
        print(f"gave up: {sender.failure}", file=sys.stderr)
        return 2
    return 1 if sender.refused else 0


if __name__ == "__main__":
    sys.exit(main())
