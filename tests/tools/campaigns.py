#!/usr/bin/env python3
"""Writes spam campaigns of our own making, the same ones for the same seed.

    campaigns.py --count N --out DIR [--campaigns N] [--seed N] [--size BYTES] [--maildir]
                 [--truth FILE]

A campaign fixes what its sender keeps: kind, wording, product, attachment. Each of its messages
varies what senders vary: names, amounts, links, filler, sender addresses. Some campaigns are much
larger than others. --size makes the text bodies about that long. --truth tells as JSON lines
which file is of which campaign. Names end in .example or are example.net and its kin; nothing
here leads anywhere or does harm.
"""

import argparse
import base64
import binascii
import json
import os
import random

FIRST = "Anna Ben Carla David Elif Frank Grace Hugo Ines Jonas Karim Lena Marta Nils Olga Paul".split()
LAST = "Abara Brandt Costa Dupont Evans Fischer Gomez Hansen Ito Jansen Kowalski Lopez Mensah".split()
HOSTS = "example.net example.org example.com shop.example mail.example news.example".split()
WORDS = """river stone market window garden letter morning evening paper copper silver teacher
driver doctor village harbour bridge signal colour winter summer number travel engine kitchen
ticket button orange velvet candle mirror pocket ribbon saddle timber whistle carpet barrel""".split()
ENGLISH = [
    "Our customers come back because the service is friendly and quick.",
    "This message reaches you because your address stands in our register.",
    "Please read the following lines with care and answer as soon as you can.",
    "No further cost arises and you may withdraw at any time.",
    "Thousands of people in your region have taken part already.",
    "The offer ends this week and will not be made a second time.",
    "You need no card, no contract and no earlier experience.",
    "All parcels leave our warehouse in a plain cover within one day.",
    "Our team answers questions around the clock, on holidays too.",
    "Should this concern you no longer, you may ignore this letter.",
]
JAPANESE = [
    "お荷物をお届けにあがりましたが、ご不在のため持ち帰りました。",
    "お支払い方法に問題がありますので、情報を更新してください。",
    "このメールは登録されたお客様全員に送信しています。",
    "期限を過ぎますとサービスの利用ができなくなります。",
    "詳しくは次のページをご覧ください。",
    "ご不明な点がございましたらお問い合わせください。",
]
CHINESE = [
    "尊敬的客户，您的包裹暂时无法投递，请更新地址。",
    "我公司长期提供各类培训课程，欢迎来电咨询。",
    "本次活动名额有限，请尽快报名。",
    "如果您不希望再收到此类邮件，请回复退订。",
    "新产品价格优惠，质量保证，送货上门。",
    "请在三天以内确认您的信息。",
]
RUSSIAN = [
    "Здравствуйте! Предлагаем кредит без справок и поручителей.",
    "Ваша заявка одобрена, осталось подтвердить данные.",
    "Наша компания работает на рынке более десяти лет.",
    "Скидка действует только до конца недели.",
    "Доставка по всей стране за три дня.",
    "Если письмо попало к вам по ошибке, просто удалите его.",
]


# What a message is made of.

def lines(data):
    """Base64 in lines of 76, as mail has it."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def part(kind, content, charset=None, transfer="base64", extra=()):
    """A MIME leaf: text in a charset, or bytes."""
    data = content if charset is None else content.replace("\n", "\r\n").encode(charset, "replace")
    if transfer == "base64":
        body = lines(data)
    elif transfer == "quoted-printable":
        body = binascii.b2a_qp(data, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    else:
        body = data
    kind += f'; charset="{charset}"' if charset else ""
    head = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {transfer}", *extra]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def attachment(file, kind, data, inline=None):
    """A file; with a content id, one that is shown within the text."""
    extra = [f'Content-Disposition: {"inline" if inline else "attachment"}; filename="{file}"']
    if inline:
        extra.append(f"Content-ID: <{inline}>")
    return part(f'{kind}; name="{file}"', data, extra=extra)


def multipart(r, kind, *parts):
    boundary = f"----=_{r.getrandbits(64):016x}"
    inner = b"".join(b"--" + boundary.encode() + b"\r\n" + each + b"\r\n" for each in parts)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'
    return head.encode() + inner + f"--{boundary}--\r\n".encode()


def name(r):
    return f"{r.choice(FIRST)} {r.choice(LAST)}"


def link(r, path="offer"):
    return f"http://{r.choice(WORDS)}{r.randrange(1000)}.{r.choice(HOSTS)}/{path}?id={r.getrandbits(40):x}"


def filler(r, count):
    return " ".join(r.choices(WORDS, k=count))


# The kinds of campaign. Each takes the campaign's own randomness and its padding, and gives a
# function from a message's randomness to (subject, charset of the subject, body).

def pills(fixed, pad):
    product = fixed.choice(["Slimexan", "Vitalor", "Hairogen", "Sleepadon"])
    price = fixed.randrange(19, 80)

    def make(r):
        page = f"""<html><body><h2>{product} from ${price}.{r.randrange(100):02}</h2>
<p>Dear {name(r)}, order <b>{product}</b> today, no recipe needed.</p>
<p><a href="{link(r)}">To the shop</a></p><p>{pad(r)}</p><!-- {filler(r, 8)} --></body></html>"""
        return f"{product} -{r.randrange(50, 90)}%", "ascii", part("text/html", page, "iso-8859-1", "7bit")

    return make


def advance_fee(fixed, pad):
    sum_, country = fixed.randrange(2, 60), fixed.choice(["Ruritania", "Freedonia", "Borduria"])
    banker = name(fixed)

    def make(r):
        text = f"""Dear {r.choice(FIRST)},

I am Barrister {banker} of {country}. A late client of mine left a deposit of
US${sum_},{r.randrange(100, 999)},000 and no heir. With your help the money can be moved out of the
country, and forty per cent of it would be yours for your trouble.

{pad(r)}

Write to me in confidence at {r.choice(WORDS)}{r.randrange(99)}@{r.choice(HOSTS)}.

{banker}
"""
        return f"CONFIDENTIAL: US${sum_} MILLION", "ascii", part("text/plain", text, "us-ascii", "7bit")

    return make


def phishing(fixed, pad):
    bank = fixed.choice(["First Example Bank", "Example Pay", "Parcel Example", "Example Cloud"])
    word = fixed.choice(["suspended", "limited", "on hold"])

    def make(r):
        url, case = link(r, "login"), r.randrange(10**6, 10**7)
        text = f"Your {bank} account is {word}. Case {case}.\nConfirm here: {url}\n\n{pad(r)}\n"
        page = f"""<html><head><style>.b{{color:#fff}}</style></head><body><table><tr><td>
<p>Dear customer, your {bank} account is <b>{word}</b> (case {case}).</p>
<p><a class="b" href="{url}">Confirm your account</a></p><p>{pad(r)}</p></td></tr></table></body></html>"""
        body = multipart(r, "alternative", part("text/plain", text, "utf-8", "quoted-printable"),
                         part("text/html", page, "utf-8", "quoted-printable"))
        return f"[{bank}] Your account is {word} #{case}", "ascii", body

    return make


def invoice(fixed, pad):
    firm = f"{fixed.choice(LAST)} & {fixed.choice(LAST)} Ltd"
    payload = b"PK\x03\x04" + fixed.randbytes(fixed.randrange(3000, 12000))

    def make(r):
        number = r.randrange(10**5, 10**6)
        text = f"Hello {r.choice(FIRST)},\n\nenclosed is invoice {number} of {firm}.\n{pad(r)}\n\n{name(r)}\n"
        # Every third message has a payload of its own, as packers make them.
        data = payload if r.randrange(3) else payload[:-16] + r.randbytes(16)
        body = multipart(r, "mixed", part("text/plain", text, "utf-8", "8bit"),
                         attachment(f"invoice_{number}.zip", "application/zip", data))
        return f"Invoice {number} from {firm}", "ascii", body

    return make


def crypto(fixed, pad):
    coin = fixed.choice(["ExampleCoin", "MoonToken", "SafeDust"])
    wallet = f"bc1q{fixed.getrandbits(150):038x}"

    def make(r):
        text = f"""Hi {r.choice(FIRST)} – send {r.randrange(1, 9)}0 {coin} and get twice as much back…

Wallet: {wallet}
Ends in {r.randrange(2, 48)} hours → {link(r, 'event')}

{pad(r)}
"""
        return f"🚀 {coin} ×2 until {r.randrange(1, 13)} pm", "utf-8", part("text/plain", text, "utf-8", "quoted-printable")

    return make


def newsletter(fixed, pad):
    shop = fixed.choice(["Garden", "Kitchen", "Travel", "Fashion"]) + " Example"
    goods = [f"{fixed.choice(WORDS)} {fixed.choice(WORDS)}" for _ in range(6)]

    def make(r):
        items = "".join(
            f'<tr><td>{good}</td><td>{r.randrange(5, 99)}.99 &euro;</td><td><a href="{link(r, "p")}">buy</a></td></tr>\n'
            for good in goods)
        page = f"""<html><body style="font-family:sans-serif"><h1>{shop}</h1><table>
{items}</table><p>{pad(r)}</p>
<div style="display:none;font-size:0">{filler(r, 60)}</div>
<img src="http://t.{r.choice(HOSTS)}/o/{r.getrandbits(64):x}.gif" width=1 height=1></body></html>"""
        return f"{shop}: {r.randrange(10, 80)} % off", "ascii", part("text/html", page, "utf-8", "base64")

    return make


def short(fixed, pad):
    asks = fixed.choice(["are you there?", "call me back", "i have pictures of you", "quick question"])

    def make(r):
        text = f"hi {r.choice(FIRST).lower()} {asks} {link(r, 'x')}\n{pad(r)}"
        return r.choice(["", "Re:", "hello", asks]), "ascii", part("text/plain", text, "us-ascii", "7bit")

    return make


def japanese(fixed, pad):
    head = fixed.choice(JAPANESE)

    def make(r):
        text = f"{head}\n\n受付番号：{r.randrange(10**7, 10**8)}\n{link(r, 'jp')}\n\n{pad(r, JAPANESE)}\n"
        return f"【重要】{head[:12]} {r.randrange(1000)}", "iso-2022-jp", part("text/plain", text, "iso-2022-jp", "7bit")

    return make


def chinese(fixed, pad):
    head = fixed.choice(CHINESE)

    def make(r):
        text = f"{head}\n\n电话：{r.randrange(10**8, 10**9)}\n{link(r, 'cn')}\n{pad(r, CHINESE)}\n"
        return f"{head[:10]} {r.randrange(100)}", "gb2312", part("text/plain", text, "gb2312", "base64")

    return make


def russian(fixed, pad):
    head, transfer = fixed.choice(RUSSIAN), fixed.choice(["8bit", "quoted-printable"])

    def make(r):
        page = f"""<html><body><p>{head}</p><p>Сумма: {r.randrange(10, 900)} 000 руб.</p>
<p><a href="{link(r, 'ru')}">Подробнее</a></p><p>{pad(r, RUSSIAN)}</p></body></html>"""
        return head[:24], "koi8-r", part("text/html", page, "koi8-r", transfer)

    return make


def picture(fixed, pad):
    image = b"GIF89a" + fixed.randbytes(fixed.randrange(2000, 6000))

    def make(r):
        cid = f"{r.getrandbits(48):x}@{r.choice(HOSTS)}"
        page = f'<html><body><a href="{link(r)}"><img src="cid:{cid}"></a><p>{pad(r)}</p></body></html>'
        body = multipart(r, "related", part("text/html", page, "iso-8859-1", "7bit"),
                         attachment(f"{r.choice(WORDS)}.gif", "image/gif", image, cid))
        return f"{r.choice(WORDS)} {r.choice(WORDS)}", "ascii", body

    return make


def job(fixed, pad):
    pay, firm = fixed.randrange(20, 90) * 100, f"{fixed.choice(LAST)} Logistics"

    def make(r):
        text = f"""Guten Tag {name(r)},

{firm} sucht Mitarbeiter für leichte Büroarbeit von zu Hause, {pay} € im Monat.
Bewerbung an {r.choice(WORDS)}{r.randrange(999)}@{r.choice(HOSTS)}, Kennwort {r.choice(WORDS)}.

{pad(r)}
"""
        return f"Stelle für Sie: {pay} € im Monat", "iso-8859-15", part("text/plain", text, "iso-8859-15", "8bit")

    return make


KINDS = [pills, advance_fee, phishing, invoice, crypto, newsletter,
         short, japanese, chinese, russian, picture, job]


class Campaign:
    def __init__(self, seed, number, size):
        fixed = random.Random(f"{seed}/campaign/{number}")
        self.number = number
        self.kind = KINDS[number % len(KINDS)]
        self.size = size
        self.order = [fixed.randrange(1000) for _ in range(size // 20 + 1)]
        self.make = self.kind(fixed, self.pad)
        self.agent = f"Mailer {fixed.randrange(1, 20)}.{fixed.randrange(10)}"

    def pad(self, r, sentences=ENGLISH):
        """Text up to the wished size: the campaign's own, with some words of the message's."""
        out, length = [], 0
        for index in self.order:
            if length >= self.size:
                break
            sentence = sentences[index % len(sentences)]
            if index % 7 == 0:
                sentence += f" {r.choice(WORDS)}{r.randrange(1000)}"
            out.append(sentence)
            length += len(sentence.encode()) + 1
        return "\n".join(out)

    def message(self, r, number):
        subject, charset, body = self.make(r)
        if charset != "ascii":
            encoded = base64.b64encode(subject.encode(charset, "replace")).decode()
            subject = f"=?{charset}?B?{encoded}?="
        sender = f"{r.choice(WORDS)}.{r.choice(WORDS)}{r.randrange(100)}@{r.choice(HOSTS)}"
        day, clock = r.randrange(1, 29), r.randrange(86400)
        head = f"""Received: from {r.choice(WORDS)}.example ([192.0.2.{r.randrange(256)}]) by relay.example; {day} Jun 2026
From: "{name(r)}" <{sender}>
To: user{r.randrange(500)}@example.com
Subject: {subject}
Date: {day} Jun 2026 {clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02} +0000
Message-ID: <{number}.{r.getrandbits(48):x}@{r.choice(HOSTS)}>
X-Mailer: {self.agent}
MIME-Version: 1.0
"""
        return head.replace("\n", "\r\n").encode() + body


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--campaigns", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--maildir", action="store_true", help="make OUT a maildir")
    parser.add_argument("--truth", metavar="FILE")
    options = parser.parse_args()
    into = os.path.join(options.out, "new") if options.maildir else options.out
    os.makedirs(into, exist_ok=True)
    if options.maildir:
        os.makedirs(os.path.join(options.out, "cur"), exist_ok=True)
        os.makedirs(os.path.join(options.out, "tmp"), exist_ok=True)
    campaigns = [Campaign(options.seed, n, options.size) for n in range(options.campaigns)]
    weights = [1 / (n % 37 + 1) for n in range(options.campaigns)]
    truth = open(options.truth or os.devnull, "w", encoding="ascii")
    with truth:
        for number in range(options.count):
            r = random.Random(f"{options.seed}/message/{number}")
            campaign = r.choices(campaigns, weights)[0]
            file = f"{number:07}.eml"
            with open(os.path.join(into, file), "wb") as out:
                out.write(campaign.message(r, number))
            entry = {"file": file, "campaign": campaign.number, "kind": campaign.kind.__name__}
            truth.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
