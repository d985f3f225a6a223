//! The gate behind a reset: whatever fails, each request runs once, in order, and only in a session that has been reset.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(missing_docs, reason = "tests")]

use std::collections::{BTreeSet, VecDeque};

use pgoxide_protocol::client::{
    CancelOutcome, Commands, Connection, Event, Limits, Prefix, Request, RequestId, Resend, Stage, Standing, Step,
};
use pgoxide_protocol::codes::TransactionStatus::{self, Idle, InTransaction};
use pgoxide_protocol::message::{Bind, describe, execute, parse, sync};
use pgoxide_protocol::server;
use proptest::prelude::*;

fn command(out: &mut Vec<u8>, text: &str) {
    parse::write(out, b"", text.as_bytes(), &[]).unwrap();
    let none = Bind {
        portal: b"",
        statement: b"",
        parameter_formats: (&[][..]).into(),
        parameters: (&[][..]).into(),
        result_formats: (&[][..]).into(),
    };
    none.encode(out).unwrap();
    execute::write(out, b"", 0).unwrap();
}

fn request(id: RequestId, text: &str, barrier: bool) -> Request<RequestId> {
    let mut bytes = Vec::new();
    command(&mut bytes, text);
    sync::write(&mut bytes);
    let steps = [Step::Parse, Step::Bind, Step::Execute, Step::Sync].into_iter().collect();
    Request { id, bytes, steps, barrier, open: false, resend: Resend::Never, job: id }
}

fn proof(id: RequestId) -> Prefix {
    let mut bytes = Vec::new();
    describe::write_portal(&mut bytes, id.to_string().as_bytes()).unwrap();
    Prefix { bytes, steps: [Step::Proof].into_iter().collect() }
}

/// A server that knows which resets were done, and in what state the session was when something ran.
#[derive(Default)]
struct Backend {
    machine: server::Connection,
    status: Option<TransactionStatus>,
    text: String,
    /// What the next resets, and the next proofs, come to; true: an error.
    refused_resets: VecDeque<bool>,
    refused_proofs: VecDeque<bool>,
    done: BTreeSet<String>,
    /// No reset has been done since the last user left.
    dirty: bool,
    failed: bool,
    /// What ran, and whether the session was dirty.
    ran: Vec<(String, bool)>,
    heard: String,
}

impl Backend {
    fn receive(&mut self, bytes: &[u8]) {
        use server::Request as R;
        self.machine.receive(bytes).unwrap();
        while let Some(asked) = self.machine.poll_event().unwrap() {
            match asked {
                R::Startup { .. } => {
                    self.machine.authentication_ok().unwrap();
                    self.machine.ready_for_query(Idle).unwrap();
                }
                R::Parse { sql, .. } => {
                    self.text = String::from_utf8(sql).unwrap();
                    self.machine.parse_complete().unwrap();
                }
                R::Bind { .. } => self.machine.bind_complete().unwrap(),
                R::DescribePortal(name) => self.describe(&String::from_utf8(name).unwrap()),
                R::Execute { .. } => self.execute(),
                R::Sync => {
                    self.heard.push('S');
                    self.failed = false;
                    self.machine.ready_for_query(self.status.unwrap_or(Idle)).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn describe(&mut self, name: &str) {
        self.heard.push('p');
        if name.is_empty() {
            // The guard of a transaction block.
            return if self.status == Some(InTransaction) { self.machine.no_data().unwrap() } else { self.fail() };
        }
        if self.refused_proofs.pop_front() == Some(true) || !self.done.contains(name) {
            return self.fail();
        }
        self.machine.no_data().unwrap();
    }

    fn fail(&mut self) {
        self.failed = true;
        self.machine.error(b"34000", b"no").unwrap();
    }

    fn execute(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Some(number) = text.strip_prefix("reset ") {
            self.heard.push('r');
            if self.refused_resets.pop_front() == Some(true) {
                return self.fail();
            }
            self.done.insert(number.to_owned());
            self.dirty = false;
        } else if text == "begin" {
            self.heard.push('b');
            self.status = Some(InTransaction);
        } else {
            self.heard.push('x');
            self.ran.push((text, self.dirty));
        }
        self.machine.command_complete(b"OK").unwrap();
    }
}

struct Pair {
    client: Connection<RequestId>,
    backend: Backend,
    /// Said by the server, and not yet heard.
    back: VecDeque<u8>,
    page: Vec<u8>,
    finished: Vec<RequestId>,
    refused: Vec<RequestId>,
    failed: bool,
    /// The reset that is unanswered, and what may follow it.
    reset: Option<RequestId>,
    /// One that failed is followed by another.
    tries_again: bool,
    next: RequestId,
}

impl Pair {
    fn new() -> Self {
        let mut client = Connection::new(Limits::default());
        client.start(&[(b"user", b"u")]).unwrap();
        let mut pair = Self {
            client,
            backend: Backend::default(),
            back: VecDeque::new(),
            page: Vec::new(),
            finished: Vec::new(),
            refused: Vec::new(),
            failed: false,
            reset: None,
            tries_again: true,
            next: 1,
        };
        pair.talk();
        pair
    }

    /// What the client has to say reaches the server.
    fn send(&mut self) {
        self.client.pump();
        let bytes = self.client.outgoing().to_vec();
        self.client.sent(bytes.len());
        self.backend.receive(&bytes);
        self.back.extend(self.backend.machine.take_output());
    }

    /// So many bytes of what the server has said are heard.
    fn hear(&mut self, count: usize) {
        let count = count.min(self.back.len());
        self.page.extend(self.back.drain(..count));
        let page = std::mem::take(&mut self.page);
        let mut used = 0;
        while let Some(event) = self.client.next_event(&page, &mut used).unwrap() {
            match event {
                Event::Failed(..) => self.failed = true,
                Event::Finished { id, .. } => {
                    let failed = std::mem::take(&mut self.failed);
                    if self.reset == Some(id) {
                        self.reset = None;
                        if failed && self.tries_again {
                            self.begin_reset(false);
                        }
                    } else if failed {
                        self.refused.push(id);
                    } else {
                        self.finished.push(id);
                    }
                }
                _ => {}
            }
        }
        self.page = page[used..].to_vec();
    }

    fn talk(&mut self) {
        loop {
            self.send();
            if self.back.is_empty() {
                return;
            }
            self.hear(usize::MAX);
        }
    }

    fn begin_reset(&mut self, proven: bool) {
        let id = self.id();
        let proof = proven.then(|| proof(id));
        self.client.submit_reset(request(id, &format!("reset {id}"), true), proof);
        self.reset = Some(id);
    }

    fn id(&mut self) -> RequestId {
        self.next += 1;
        self.next
    }

    fn ask(&mut self, barrier: bool) -> RequestId {
        let id = self.id();
        self.client.submit(request(id, &id.to_string(), barrier));
        id
    }

    /// A user has left: what follows must find a session that has been reset.
    fn leave(&mut self) {
        self.talk();
        self.backend.dirty = true;
        self.backend.heard.clear();
        self.begin_reset(true);
    }

    fn heard(&mut self) -> String {
        std::mem::take(&mut self.backend.heard)
    }

    fn assert_ran(&self, ids: &[RequestId]) {
        let wanted: Vec<(String, bool)> = ids.iter().map(|id| (id.to_string(), false)).collect();
        assert_eq!(self.backend.ran, wanted);
    }
}

#[test]
fn one_request_follows_and_the_next_waits() {
    let mut pair = Pair::new();
    pair.leave();
    let first = pair.ask(false);
    let second = pair.ask(false);
    pair.send();
    assert_eq!(pair.heard(), "rSpxS");
    pair.talk();
    assert_eq!(pair.heard(), "xS");
    pair.assert_ran(&[first, second]);
    assert_eq!(pair.finished, [first, second]);
}

#[test]
fn what_comes_later_follows_an_unanswered_reset() {
    let mut pair = Pair::new();
    pair.leave();
    pair.send();
    assert_eq!(pair.heard(), "rS");
    assert!(pair.client.may_follow_reset());
    let first = pair.ask(false);
    pair.send();
    assert_eq!(pair.heard(), "pxS");
    assert!(!pair.client.may_follow_reset());
    pair.talk();
    assert_eq!(pair.finished, [first]);
}

#[test]
fn behind_an_answered_reset_nothing_is_proven() {
    let mut pair = Pair::new();
    pair.leave();
    pair.talk();
    assert!(!pair.client.may_follow_reset());
    pair.ask(false);
    pair.talk();
    assert_eq!(pair.heard(), "rSxS");
}

#[test]
fn a_barrier_waits_and_so_does_what_is_behind_it() {
    let mut pair = Pair::new();
    pair.leave();
    let (first, second) = (pair.ask(true), pair.ask(false));
    pair.send();
    assert_eq!(pair.heard(), "rS");
    pair.talk();
    assert_eq!(pair.heard(), "xSxS");
    pair.assert_ran(&[first, second]);
}

#[test]
fn what_followed_a_failed_reset_runs_behind_the_next() {
    let mut pair = Pair::new();
    pair.backend.refused_resets = [true, true, false].into();
    pair.leave();
    let (first, second) = (pair.ask(false), pair.ask(false));
    pair.send();
    pair.hear(usize::MAX);
    pair.send();
    assert_eq!(pair.heard(), "rSpSrS");
    pair.talk();
    assert_eq!(pair.heard(), "rSxSxS");
    pair.assert_ran(&[first, second]);
    assert_eq!((&pair.finished[..], &pair.refused[..]), (&[first, second][..], &[][..]));
}

#[test]
fn behind_a_failed_reset_nothing_is_written() {
    for following in [0, 1, 2] {
        let mut pair = Pair::new();
        pair.tries_again = false;
        pair.backend.refused_resets = [true].into();
        pair.leave();
        for _ in 0..following {
            pair.ask(false);
        }
        pair.talk();
        assert_eq!(pair.heard(), if following > 0 { "rSpS" } else { "rS" });
        pair.ask(false);
        pair.talk();
        assert_eq!(pair.heard(), "");
        assert_eq!((pair.finished.len(), pair.client.unfinished()), (0, following + 1));
    }
}

#[test]
fn a_proof_that_fails_by_itself_changes_no_order() {
    let mut pair = Pair::new();
    pair.backend.refused_proofs = [true].into();
    pair.leave();
    let (first, second) = (pair.ask(false), pair.ask(false));
    pair.talk();
    assert_eq!(pair.heard(), "rSpSxSxS");
    pair.assert_ran(&[first, second]);
}

#[test]
fn a_block_is_opened_by_what_runs_in_the_end() {
    let mut pair = Pair::new();
    pair.backend.refused_resets = [true].into();
    pair.leave();
    let level = pair.id();
    pair.client.enter(level, 0, Commands::new(&["begin"]).unwrap(), Commands::default());
    let id = pair.id();
    pair.client.submit_at(request(id, &id.to_string(), false), Standing::Inside(level));
    pair.send();
    assert_eq!(pair.heard(), "rSpS");
    pair.hear(usize::MAX);
    assert_eq!(pair.client.stage(level), Some(Stage::Pending));
    pair.talk();
    assert_eq!(pair.heard(), "rSbxS");
    assert_eq!(pair.client.stage(level), Some(Stage::Open));
    pair.assert_ran(&[id]);
}

#[test]
fn what_was_given_up_is_not_written_again() {
    for late in [false, true] {
        let mut pair = Pair::new();
        pair.backend.refused_resets = [true].into();
        pair.leave();
        let (first, second) = (pair.ask(false), pair.ask(false));
        pair.send();
        if late {
            // Skipped, and not yet finished.
            let all = pair.back.len();
            pair.hear(all - 6);
        }
        assert!(matches!(pair.client.cancel(first), CancelOutcome::Discarding));
        pair.talk();
        pair.assert_ran(&[second]);
    }
}

#[test]
fn with_the_connection_everything_comes_back_in_order() {
    let mut pair = Pair::new();
    pair.leave();
    let ids = [pair.ask(false), pair.ask(false)];
    let reset = pair.reset.unwrap();
    assert_eq!(pair.client.unfinished(), 3);
    assert_eq!(pair.client.jobs().count(), 3);
    let jobs: Vec<RequestId> = pair.client.abort().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(jobs, [reset, ids[0], ids[1]]);
    assert_eq!((pair.client.unfinished(), pair.client.held()), (0, 0));
}

#[derive(Clone, Debug)]
enum Act {
    Ask { barrier: bool },
    Send,
    Hear(usize),
    Leave { resets: Vec<bool>, proofs: Vec<bool> },
}

fn act() -> impl Strategy<Value = Act> {
    let often = |share| prop::collection::vec(prop::bool::weighted(share), 0..3);
    prop_oneof![
        4 => prop::bool::weighted(0.2).prop_map(|barrier| Act::Ask { barrier }),
        3 => Just(Act::Send),
        3 => (1_usize..60).prop_map(Act::Hear),
        1 => (often(0.5), often(0.3)).prop_map(|(resets, proofs)| Act::Leave { resets, proofs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 20_000 }))]

    #[test]
    fn all_run_once_in_order_and_in_a_clean_session(acts in prop::collection::vec(act(), 1..60)) {
        let mut pair = Pair::new();
        let mut asked = Vec::new();
        for act in acts {
            match act {
                Act::Ask { barrier } => asked.push(pair.ask(barrier)),
                Act::Send => pair.send(),
                Act::Hear(count) => pair.hear(count),
                Act::Leave { resets, proofs } => {
                    pair.talk();
                    pair.backend.refused_resets = resets.into();
                    pair.backend.refused_proofs = proofs.into();
                    pair.leave();
                }
            }
        }
        pair.talk();
        pair.assert_ran(&asked);
        prop_assert_eq!(&pair.finished, &asked);
        prop_assert!(pair.refused.is_empty() && pair.client.is_idle());
        prop_assert_eq!(pair.client.held(), 0);
    }
}
