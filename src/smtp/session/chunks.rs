//! BDAT within a session (RFC 3030 §2): content in chunks, each of a size that is told before it.
//!
//! The chunks from the first to the one that says LAST are one message. Nothing in them is looked
//! at: no dot is stuffed, and no end is found. A chunk that is refused has been sent all the same, so
//! it is passed over before it is answered. What else may come between chunks, and how it goes on
//! after a refusal, is a matter of the server that is played.

use std::mem;

use super::{Phase, Session, Step, Verdict, refuse};
use crate::smtp::answer::{Answer, Taken};
use crate::smtp::command::{Command, Verb};
use crate::smtp::personality::Chunking;

/// Smaller chunks count as commands that bring no message forward: each is a line of the record.
const SMALL: u64 = 1024;

/// A message that comes in chunks, from the first to the last.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Bytes so far.
    size: u64,
    /// The shell has the message.
    pub(super) begun: bool,
    /// It is larger than a message may be, and nobody has it any more.
    over: bool,
    /// Something was refused; there will be no message.
    failed: bool,
}

/// A chunk that is being read.
#[derive(Debug)]
pub(super) struct Chunk {
    size: u64,
    left: u64,
    last: bool,
    /// What will be said of it, where it is not taken.
    refusal: Option<Answer<'static>>,
}

impl Session {
    pub(super) fn bdat<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        let how = self.face.habits().chunking;
        if how == Chunking::No || how == Chunking::HearOut && !self.extended {
            self.commands += 1;
            return refuse(Answer::BdatRefused);
        }
        let Some((size, last)) = command.chunk() else {
            self.commands += 1;
            return match how {
                // Its content would follow and be read as commands.
                Chunking::PassOver => Verdict::HangUp(Answer::ChunkSyntax),
                Chunking::HearOut | Chunking::No => refuse(Answer::ChunkSyntax),
            };
        };
        let refusal = self.refusal(how, size, last);
        let taken = refusal.is_none();
        let is_lost = !taken || self.chunks.as_ref().is_some_and(|chunks| chunks.over);
        self.commands += u32::from(is_lost || size < SMALL);
        self.phase = Phase::Chunk(Chunk {
            size,
            left: size,
            last,
            refusal,
        });
        match self.envelope.take_if(|_| taken) {
            Some(envelope) => {
                self.chunks = Some(Chunks {
                    begun: true,
                    ..Chunks::default()
                });
                self.begin(envelope)
            }
            None => Verdict::Accepted,
        }
    }

    /// Why a chunk is not taken.
    fn refusal(&mut self, how: Chunking, size: u64, last: bool) -> Option<Answer<'static>> {
        let most = self.profile.max_message_size;
        let empty = size == 0 && !last;
        match (&self.chunks, how) {
            (_, Chunking::PassOver) if empty => Some(Answer::EmptyChunk),
            (Some(_), Chunking::HearOut) if empty => Some(Answer::EmptyChunk),
            (Some(chunks), _) if chunks.failed => Some(Answer::ChunkDiscarded(size)),
            (None, _) if self.recipients() == 0 => Some(match self.envelope {
                Some(_) => Answer::NoRecipients(Verb::Bdat),
                None => Answer::NeedMailFor(Verb::Bdat),
            }),
            (chunks, Chunking::PassOver) => {
                let before = chunks.as_ref().map_or(0, |chunks| chunks.size);
                (before.saturating_add(size) > most).then(|| {
                    self.met.sizes += 1;
                    Answer::ChunkTooBig
                })
            }
            _ => None,
        }
    }

    /// Why a command may not stand between chunks.
    pub(super) fn between_chunks(&mut self, verb: Verb) -> Option<Answer<'static>> {
        let in_mail = self.in_mail();
        let chunks = self.chunks.as_mut()?;
        match (self.face.habits().chunking, verb) {
            (Chunking::No, _) => None,
            (Chunking::PassOver, Verb::Mail) if in_mail => Some(Answer::NestedMail),
            (Chunking::PassOver, Verb::Rcpt) if !in_mail => Some(Answer::NeedMail),
            (Chunking::PassOver, Verb::Mail | Verb::Rcpt | Verb::Data) => {
                Some(Answer::BetweenChunks(verb))
            }
            (Chunking::PassOver, _) | (_, Verb::Rset | Verb::Quit) => None,
            (Chunking::HearOut, _) if chunks.failed => Some(Answer::OnlyReset),
            (Chunking::HearOut, Verb::Bdat | Verb::Noop) => None,
            (Chunking::HearOut, _) => {
                chunks.failed = true;
                Some(Answer::BetweenChunks(verb))
            }
        }
    }

    /// Forgets the mail that has been begun, if there is one.
    pub(super) fn forget(&mut self) -> Option<Step<'static>> {
        self.envelope = None;
        let chunks = self.chunks.take()?;
        chunks.begun.then_some(Step::Reset)
    }

    pub(super) fn read_chunk<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let Phase::Chunk(chunk) = &mut self.phase else {
            return (0, None);
        };
        if chunk.left == 0 {
            return (0, self.end_chunk());
        }
        let size = usize::try_from(chunk.left).map_or(input.len(), |left| left.min(input.len()));
        let content = input.get(..size).unwrap_or_default();
        if content.is_empty() {
            return (0, Some(Step::Read));
        }
        chunk.left -= size as u64;
        match &mut self.chunks {
            Some(chunks) if chunk.refusal.is_none() && !chunks.over => {
                chunks.size += size as u64;
                let step = if chunks.size > self.profile.max_message_size {
                    self.met.sizes += 1;
                    chunks.over = true;
                    chunks.begun = false;
                    Step::Abandon
                } else {
                    Step::Content(content)
                };
                (size, Some(step))
            }
            _ => (size, None),
        }
    }

    fn end_chunk<'a>(&mut self) -> Option<Step<'a>> {
        let Phase::Chunk(chunk) = mem::replace(&mut self.phase, Phase::Commands) else {
            return None;
        };
        if let Some(refusal) = chunk.refusal {
            self.conclude(refuse(refusal));
            return self.fail(&refusal, chunk.last);
        }
        if !chunk.last {
            self.say(&Answer::ChunkOk(chunk.size));
            self.bound_commands();
            return None;
        }
        let chunks = self.chunks.take().unwrap_or_default();
        if chunks.over {
            return self.conclude(refuse(Answer::MessageTooBig));
        }
        self.phase = Phase::Storing(Some(Taken {
            chunk: chunk.size,
            total: chunks.size,
        }));
        Some(Step::End)
    }

    /// How it goes on after a chunk that was refused.
    fn fail(&mut self, refusal: &Answer<'_>, last: bool) -> Option<Step<'static>> {
        match self.face.habits().chunking {
            Chunking::PassOver if last => return self.forget(),
            Chunking::PassOver => self.chunks.get_or_insert_default().failed = true,
            _ if *refusal == Answer::EmptyChunk => {
                self.chunks.get_or_insert_default().failed = true;
            }
            _ => {}
        }
        None
    }
}
