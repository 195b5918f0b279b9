//! What a session has to say, before a personality finds the words for it.
//!
//! The session decides, a [`Face`](super::personality::Face) words: so the order of commands and
//! their effect are written once, and what a scanner takes a fingerprint of stands, server by
//! server, in one place each. Whoever adds an answer here must give it words in all of them.
//!
//! What is borrowed in an answer are a client's own bytes, as they came. A face may repeat them
//! only by way of `personality::echo`.

use super::MessageId;
use super::command::Verb;

/// One reply, or refusal, in the order of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// The service is ready (`220`).
    Greeting,
    /// To HELO.
    Helo,
    /// To EHLO: the list of what is offered.
    Ehlo,
    /// HELO or EHLO without a name.
    NameMissing(Verb),

    /// To MAIL; the path as it was written.
    SenderOk(&'a [u8]),
    /// To RCPT; the path as it was written.
    RecipientOk(&'a [u8]),
    /// To DATA (`354`).
    StartData,
    /// The message is on disk; its name in the queue.
    Queued(&'a MessageId),
    /// The same, of one that came in chunks.
    QueuedChunks(&'a MessageId, Taken),
    /// A chunk of so many bytes was taken, and is not the last.
    ChunkOk(u64),
    /// To RSET.
    ResetOk,
    /// To NOOP.
    NoopOk,
    /// To QUIT.
    Bye,
    /// To HELP.
    Help,
    /// To VRFY, which confirms nothing (RFC 5321 §3.5.3); the address as it was written.
    Unverified(&'a [u8]),
    /// VRFY without an address.
    VrfySyntax,
    /// VRFY with something that is no address.
    VrfyBadAddress(&'a [u8]),
    /// To EXPN: never.
    ExpnRefused,

    /// The line is empty.
    Empty,
    /// The line begins with no command of this server.
    Unrecognized(&'a [u8]),
    /// The line begins with no command, and is not UTF-8 either.
    NotUtf8,
    /// The line belongs to another protocol, and this server will not bear it.
    NotSmtp,
    /// The line is longer than it may be.
    LineTooLong,
    /// A command that takes none has arguments.
    Arguments(Verb),
    /// BDAT, which is not offered.
    BdatRefused,
    /// BDAT without a size, or with more than a size and LAST.
    ChunkSyntax,
    /// BDAT of nothing, which is not the last.
    EmptyChunk,
    /// With this chunk the message would be larger than it may be.
    ChunkTooBig,
    /// A chunk of so many bytes, after one that was refused.
    ChunkDiscarded(u64),
    /// A command that may not stand between chunks.
    BetweenChunks(Verb),
    /// Any command but RSET and QUIT, after something was refused between chunks.
    OnlyReset,
    /// ETRN; the domain.
    EtrnRefused(&'a [u8]),
    /// ETRN within a transaction.
    EtrnInMail,
    /// ETRN without a domain.
    EtrnSyntax,
    /// STARTTLS, which is not offered.
    TlsRefused,
    /// STARTTLS once more.
    TlsAlready,
    /// The handshake may begin (`220`).
    TlsReady,

    /// MAIL or RCPT without `FROM:` or `TO:`; what stands there.
    NoPath(Verb, &'a [u8]),
    /// The path of MAIL or RCPT cannot be read.
    BadPath(Verb, &'a [u8]),
    /// RCPT with the null path.
    NullRecipient(&'a [u8]),
    /// A parameter of MAIL or RCPT that is not known; the path, and the parameter.
    Unsupported(Verb, &'a [u8], &'a [u8]),
    /// SIZE is not a number.
    BadSize(&'a [u8]),
    /// SIZE is a number beyond all numbers.
    SizeOverflow,
    /// SIZE is more than a message may have.
    SizeOverLimit,
    /// MAIL within a transaction.
    NestedMail,
    /// RCPT before MAIL.
    NeedMail,
    /// DATA or BDAT before MAIL.
    NeedMailFor(Verb),
    /// DATA or BDAT before an accepted RCPT.
    NoRecipients(Verb),
    /// More recipients than one message may have: no error, the message goes to those before.
    TooManyRecipients,

    /// AUTH, which is not offered.
    AuthRefused,
    /// AUTH within a transaction.
    AuthInTransaction,
    /// AUTH once more.
    AlreadyLoggedIn,
    /// AUTH without a mechanism.
    MechanismMissing,
    /// AUTH with more than a mechanism and a response; what follows the mechanism.
    AuthSyntax(&'a [u8]),
    /// AUTH with a mechanism that is not offered.
    MechanismUnknown(&'a [u8]),
    /// AUTH with a response where the server is to begin.
    ResponseTooEarly,
    /// What the client is to respond to, in base64 (`334`).
    Challenge(&'a str),
    /// A response that is not base64; whether it came with AUTH.
    NotBase64(&'a [u8], Initial),
    /// A response that is longer than it may be.
    ResponseTooLong,
    /// The client took AUTH back with `*`.
    AuthCancelled,
    /// The pair is not let in.
    LoginFailed,
    /// The pair is let in (`235`).
    LoggedIn,
    /// MAIL before AUTH, where mail needs it.
    NeedAuth,

    /// The message is larger than it may be.
    MessageTooBig,
    /// There is no room for one more message, or recipient.
    SpaceShort,
    /// The disk is full.
    StorageFull,
    /// The message could not be written.
    WriteFailed,

    /// The session has gone on for too long without a message.
    TooManyCommands,
    /// The session has sent as many messages as one may.
    TooManyMessages,
    /// The client was silent for too long.
    Timeout,
    /// The same within a message from this sender.
    DataTimeout(&'a str),
    /// The service stops.
    Shutdown,
    /// There are too many sessions; said in place of a greeting.
    Busy,
}

/// How much a message is that came in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes of the last chunk.
    pub chunk: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Whether a response came along with AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initial {
    Yes,
    No,
}
