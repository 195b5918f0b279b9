"""The client of the package hpfeeds, for a test.

    client.py subscribe PORT IDENT SECRET CHANNEL...
    client.py publish PORT IDENT SECRET

subscribe prints each message as a line of JSON (ident, channel, payload in base64), and the line
{"ready": true} whenever the broker has taken its subscriptions: its own message has come back. It
connects again when the broker was away, and ends when its standard input does.

publish reads lines of JSON (channel, payload in base64) and publishes each.
"""

import asyncio
import base64
import json
import os
import sys
import threading

from hpfeeds.asyncio import ClientSession

READY = "tests.ready"
OURS = str(os.getpid()).encode()


def end_with_the_test():
    os.read(0, 1)
    os._exit(0)


async def announce(client):
    """Sends a message after the subscriptions of each new connection."""
    known = None
    while True:
        if client.protocol and client.protocol is not known:
            known = client.protocol
            client.publish(READY, OURS)
        await asyncio.sleep(0.05)


async def subscribe(client, channels):
    for channel in [*channels, READY]:
        client.subscribe(channel)
    announcing = asyncio.ensure_future(announce(client))
    while not announcing.done():
        ident, channel, payload = await client.read()
        if channel != READY:
            payload = base64.b64encode(payload).decode()
            line = {"ident": ident, "channel": channel, "payload": payload}
            print(json.dumps(line), flush=True)
        elif payload == OURS:
            print(json.dumps({"ready": True}), flush=True)


async def publish(client):
    await client.when_connected
    for line in sys.stdin:
        message = json.loads(line)
        client.publish(message["channel"], base64.b64decode(message["payload"]))
    await client.close()


async def main():
    what, port, ident, secret, *channels = sys.argv[1:]
    client = ClientSession("127.0.0.1", int(port), ident, secret)
    if what == "publish":
        return await publish(client)
    threading.Thread(target=end_with_the_test, daemon=True).start()
    return await subscribe(client, channels)


asyncio.run(main())
