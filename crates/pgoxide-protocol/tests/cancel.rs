//! Cancelling at the client's machine: a model of the window in which a cancel may hit a neighbour, and the cases it is
//! made of, one by one.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pgoxide_protocol::client::{
    CancelDelivered, CancelOutcome, Connection, Event, Failure, Limits, Prefix, Request, RequestId, Resend, Step,
};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::{Bind, close, describe, execute, parse, sync};
use proptest::prelude::*;

// --- Requests ----------------------------------------------------------------------------------

/// What a request does at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    /// One statement, rolled back when it fails.
    Rows,
    /// The same, and it fails by itself.
    Fails,
    /// The same, and it runs until somebody cancels it, or for very long.
    Hangs,
    /// Parse and Describe.
    Describes,
    /// May have effects that are not rolled back.
    Calls,
    Begins,
    Commits,
    /// Wants nobody beside it.
    Isolated,
}

impl Does {
    const ALL: [Self; 8] = [
        Self::Rows,
        Self::Fails,
        Self::Hangs,
        Self::Describes,
        Self::Calls,
        Self::Begins,
        Self::Commits,
        Self::Isolated,
    ];

    /// Nothing but rows depends on it: what was hit before it may run behind it.
    const fn is_orderless(self) -> bool {
        matches!(self, Self::Rows | Self::Fails | Self::Hangs | Self::Describes)
    }
}

/// A request whose text is its number: the model's server knows by it what it runs.
fn request(id: RequestId, does: Does) -> Request<u64> {
    let mut bytes = Vec::new();
    let text = id.to_string();
    parse::write(&mut bytes, b"s", text.as_bytes(), &[]).unwrap();
    let steps: &[Step] = if does == Does::Describes {
        describe::write_statement(&mut bytes, b"s").unwrap();
        &[Step::Parse, Step::DescribeStatement, Step::Sync]
    } else {
        let none = Bind {
            portal: b"",
            statement: b"s",
            parameter_formats: (&[][..]).into(),
            parameters: (&[][..]).into(),
            result_formats: (&[][..]).into(),
        };
        none.encode(&mut bytes).unwrap();
        execute::write(&mut bytes, b"", 0).unwrap();
        &[Step::Parse, Step::Bind, Step::Execute, Step::Sync]
    };
    sync::write(&mut bytes);
    let mut prefix = Prefix { bytes: Vec::new(), steps: [Step::Close].into_iter().collect() };
    close::write_statement(&mut prefix.bytes, b"s").unwrap();
    let resend = match does {
        Does::Rows | Does::Fails | Does::Hangs => Resend::Once(prefix),
        Does::Describes => Resend::Always(prefix),
        Does::Calls | Does::Begins | Does::Commits | Does::Isolated => Resend::Never,
    };
    let barrier = does == Does::Isolated;
    Request { id, bytes, steps: steps.iter().copied().collect(), barrier, open: false, resend, job: id }
}

// --- The server --------------------------------------------------------------------------------

/// One request as the server has received it.
#[derive(Clone, Copy, Debug)]
struct Unit {
    id: RequestId,
    /// Close messages in front: it is there for the second time.
    closes: usize,
}

/// The whole requests in `bytes`, and where they end.
fn units(bytes: &[u8]) -> (Vec<Unit>, usize) {
    const NONE: Unit = Unit { id: 0, closes: 0 };
    let (mut at, mut whole, mut found, mut unit) = (0, 0, Vec::new(), NONE);
    while let Some(header) = bytes.get(at..at + 5) {
        let size = 1 + u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        let Some(frame) = bytes.get(at..at + size) else { break };
        at += size;
        match frame[0] {
            b'C' => unit.closes += 1,
            b'P' => {
                let text = frame[7..].split(|byte| *byte == 0).next().unwrap();
                unit.id = std::str::from_utf8(text).unwrap().parse().unwrap();
            }
            b'S' => {
                found.push(std::mem::replace(&mut unit, NONE));
                whole = at;
            }
            _ => {}
        }
    }
    (found, whole)
}

/// Runs requests in order, one at a time; a signal hits whatever it runs when it comes.
struct Server {
    received: Vec<u8>,
    inbox: VecDeque<Unit>,
    does: BTreeMap<RequestId, Does>,
    transaction: TransactionStatus,
    /// Everything that ended, in order: which, and whether its effects stand.
    log: Vec<(RequestId, Ran)>,
    wire: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Done,
    Refused,
    Hit,
}

impl Server {
    const fn new() -> Self {
        Self {
            received: Vec::new(),
            inbox: VecDeque::new(),
            does: BTreeMap::new(),
            transaction: TransactionStatus::Idle,
            log: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<RequestId> {
        self.received.extend_from_slice(bytes);
        let (came, whole) = units(&self.received);
        self.received.drain(..whole);
        self.inbox.extend(&came);
        came.into_iter().map(|unit| unit.id).collect()
    }

    /// Ends what runs; `hit`: by a signal.
    fn end(&mut self, hit: bool) {
        let Some(unit) = self.inbox.pop_front() else { return };
        let does = self.does[&unit.id];
        let failed = self.transaction == TransactionStatus::Failed && does != Does::Commits;
        let ran = match does {
            _ if failed => Ran::Refused,
            _ if hit => Ran::Hit,
            Does::Fails => Ran::Refused,
            _ => Ran::Done,
        };
        self.wire.extend(b"3\0\0\0\x04".repeat(unit.closes));
        self.wire.extend(b"1\0\0\0\x04");
        match ran {
            Ran::Hit => self.wire.extend(b"E\0\0\0\x13SERROR\0C57014\0\0"),
            Ran::Refused => self.wire.extend(b"E\0\0\0\x13SERROR\0C25P02\0\0"),
            Ran::Done if does == Does::Describes => self.wire.extend(b"t\0\0\0\x06\0\0n\0\0\0\x04"),
            Ran::Done => self.wire.extend(b"2\0\0\0\x04C\0\0\0\x0dSELECT 0\0"),
        }
        self.transaction = match (does, ran, self.transaction) {
            (Does::Begins, Ran::Done, TransactionStatus::Idle) => TransactionStatus::InTransaction,
            (Does::Commits, Ran::Done, _) => TransactionStatus::Idle,
            (_, Ran::Refused | Ran::Hit, TransactionStatus::InTransaction) => TransactionStatus::Failed,
            (_, _, before) => before,
        };
        let status = match self.transaction {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.wire.extend([b'Z', 0, 0, 0, 5, status]);
        self.log.push((unit.id, ran));
    }
}

// --- The world ---------------------------------------------------------------------------------

/// A side connection that carries a CancelRequest.
#[derive(Clone, Copy, Debug)]
struct Side {
    target: RequestId,
    /// The signal is given; its end has not been seen.
    arrived: bool,
    /// Signals that are left. Servers before 18 give two, to the backend and to its process group.
    signals: u8,
}

impl Side {
    const fn to(target: RequestId) -> Self {
        Self { target, arrived: false, signals: 2 }
    }
}

/// Client, server, and a driver between them that does what the machine says.
struct World {
    client: Connection<u64>,
    server: Server,
    /// Received and not read.
    page: Vec<u8>,
    side: Option<Side>,
    submitted: Vec<RequestId>,
    /// How often each came to the server.
    written: BTreeMap<RequestId, usize>,
    dropped: BTreeSet<RequestId>,
    cancelled: BTreeSet<RequestId>,
    /// Cancelled while they ran: the server must be told.
    stopped: BTreeSet<RequestId>,
    failure: Option<Failure>,
    finished: BTreeMap<RequestId, Option<Failure>>,
}

impl World {
    fn new(send_buffer: usize) -> Self {
        let mut client = Connection::new(Limits { send_buffer, ..Limits::default() });
        client.start(&[(b"user", b"u")]).unwrap();
        client.sent(client.outgoing().len());
        let (greeting, mut used) = (b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", 0);
        assert!(matches!(client.next_event(greeting, &mut used), Ok(Some(Event::Started))));
        Self {
            client,
            server: Server::new(),
            page: Vec::new(),
            side: None,
            submitted: Vec::new(),
            written: BTreeMap::new(),
            dropped: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            stopped: BTreeSet::new(),
            failure: None,
            finished: BTreeMap::new(),
        }
    }

    /// Ids that do not rise, as where a description is asked for ahead of the calls that wait for it.
    fn submit(&mut self, does: Does) -> RequestId {
        let id = (self.submitted.len() as u64 ^ 1) + 1;
        self.submitted.push(id);
        self.server.does.insert(id, does);
        self.client.submit(request(id, does));
        id
    }

    fn submit_all(&mut self, does: &[Does]) -> Vec<RequestId> {
        does.iter().map(|does| self.submit(*does)).collect()
    }

    /// Pumps, and hands the socket as much as it takes.
    fn send(&mut self, most: usize) {
        let before = (self.client.is_cancelling(), self.client.outgoing().len());
        self.client.pump();
        let bytes = self.client.outgoing();
        assert!(!before.0 || bytes.len() == before.1, "written while a cancel is outstanding");
        let written = units(&bytes[before.1..]).0;
        let bytes = bytes[..bytes.len().min(most)].to_vec();
        self.client.sent(bytes.len());
        written.into_iter().for_each(|unit| self.check_written(unit.id));
        for id in self.server.receive(&bytes) {
            self.check_arrival(id);
        }
    }

    /// What the machine writes is still wanted, and in order unless it goes again.
    fn check_written(&mut self, id: RequestId) {
        let does = self.server.does[&id];
        let over = [&self.dropped, &self.cancelled].into_iter().any(|ids| ids.contains(&id));
        assert!(!over && !self.finished.contains_key(&id), "{id} is written though it is over");
        let times = *self.written.entry(id).and_modify(|times| *times += 1).or_insert(1);
        if times == 1 {
            let place = |id| self.submitted.iter().position(|other| *other == id);
            let overtaken = self.written.keys().any(|other| place(*other) > place(id));
            assert!(!overtaken, "{id} was overtaken before it was written");
        } else {
            assert!(does.is_orderless() && (times == 2 || does == Does::Describes), "{id} goes again, {does:?}");
        }
    }

    fn send_all(&mut self) {
        self.send(usize::MAX);
    }

    fn check_arrival(&mut self, id: RequestId) {
        let does = self.server.does[&id];
        let beside = self
            .server
            .inbox
            .iter()
            .filter(|unit| unit.id != id)
            .any(|unit| self.server.does[&unit.id] == Does::Isolated);
        assert!(!beside, "{id} was written behind a barrier");
        assert!(does != Does::Isolated || self.server.inbox.len() == 1, "{id} was written beside others");
        if self.server.inbox.iter().any(|unit| unit.id == id && unit.closes == 0) {
            return;
        }
        let hit = self.server.log.iter().rposition(|(other, _)| *other == id).unwrap();
        assert_eq!(self.server.log[hit].1, Ran::Hit, "{id} runs again without having been hit");
        if does != Does::Describes {
            let between = self.server.log[hit + 1..].iter().map(|(other, _)| other);
            let between =
                between.chain(self.server.inbox.iter().map(|unit| &unit.id).take_while(|other| **other != id));
            let between: Vec<Does> = between.map(|other| self.server.does[other]).collect();
            assert!(between.iter().all(|does| does.is_orderless()), "{id} runs again behind {between:?}");
        }
    }

    /// Reads the next `most` bytes the server has said.
    fn read(&mut self, most: usize) {
        let most = most.min(self.server.wire.len());
        self.page.extend(self.server.wire.drain(..most));
        let mut used = 0;
        while let Some(event) = self.client.next_event(&self.page, &mut used).unwrap() {
            match event {
                Event::Failed(_, failure, _) if !self.client.running_resends() => self.failure = Some(failure),
                Event::Finished { id, job, abandoned, .. } => {
                    assert_eq!(id, job);
                    assert_eq!(abandoned, self.cancelled.contains(&id));
                    let ended = self.server.log.iter().filter(|(other, _)| *other == id).count();
                    assert_eq!(ended, self.written[&id], "{id} has the answer of another");
                    assert!(self.finished.insert(id, self.failure.take()).is_none(), "{id} finished twice");
                }
                _ => {}
            }
        }
        self.page.drain(..used);
    }

    fn read_all(&mut self) {
        self.read(usize::MAX);
    }

    fn cancel(&mut self, id: RequestId) {
        let runs = self.client.running_id() == Some(id);
        let over = self.dropped.contains(&id) || self.finished.contains_key(&id) || self.cancelled.contains(&id);
        match self.client.cancel(id) {
            CancelOutcome::Dropped(job) => {
                assert!(job == id && !over);
                self.dropped.insert(id);
            }
            CancelOutcome::Running => {
                assert!(runs && !over && self.side.is_none(), "two cancels at once");
                self.side = Some(Side::to(id));
                self.cancelled.insert(id);
                self.stopped.insert(id);
            }
            CancelOutcome::Discarding => {
                assert!(!over);
                self.cancelled.insert(id);
                if runs {
                    self.stopped.insert(id);
                }
            }
            CancelOutcome::Unknown => assert!(over, "{id} is unknown"),
        }
    }

    /// A signal reaches the server.
    fn signal(&mut self) {
        if let Some(side) = self.side.as_mut().filter(|side| side.signals > 0) {
            side.arrived = true;
            side.signals -= 1;
            self.server.end(true);
        }
    }

    /// The side connection's end is seen; a target that still runs is cancelled again.
    fn acknowledge(&mut self) {
        let Some(side) = self.side.filter(|side| side.arrived) else { return };
        self.side = match self.client.cancel_delivered(side.target) {
            CancelDelivered::StillRunning if self.client.cancel_again(side.target) => Some(Side::to(side.target)),
            CancelDelivered::StillRunning => panic!("it still runs, and is not to be cancelled"),
            CancelDelivered::Next(next) => {
                assert!(self.stopped.contains(&next), "{next} was not cancelled while it ran");
                assert_eq!(self.client.running_id(), Some(next));
                Some(Side::to(next))
            }
            CancelDelivered::Closed => None,
        };
    }

    /// The server ends what it runs, unless that waits for a cancel.
    fn answer(&mut self) {
        let hangs = |unit: &Unit| self.server.does[&unit.id] == Does::Hangs && self.stopped.contains(&unit.id);
        if !self.server.inbox.front().is_some_and(hangs) {
            self.server.end(false);
        }
    }

    /// Lets everything end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.client.is_idle() && self.side.is_none() {
                assert!(!self.client.is_cancelling());
                assert_eq!((self.client.held(), self.client.unfinished()), (0, 0));
                return;
            }
            self.signal();
            self.acknowledge();
            self.send_all();
            self.answer();
            self.read_all();
        }
        panic!("stuck: {} unfinished, side {:?}", self.client.unfinished(), self.side);
    }

    /// How often it ended, and how.
    fn ran(&self, id: RequestId) -> Vec<Ran> {
        self.server.log.iter().filter(|(other, _)| *other == id).map(|(_, ran)| *ran).collect()
    }

    fn check_end(&self) {
        for &id in &self.submitted {
            let ran = self.ran(id);
            let done = ran.iter().filter(|ran| **ran == Ran::Done).count();
            assert!(done <= 1, "{id} was executed {done} times");
            if self.dropped.contains(&id) {
                assert!(done == 0 && !self.finished.contains_key(&id));
                continue;
            }
            let outcome = self.finished.get(&id).unwrap_or_else(|| panic!("{id} was lost"));
            assert_eq!(ran.len(), self.written[&id]);
            if self.cancelled.contains(&id) {
                continue;
            }
            match (outcome, ran.last().unwrap()) {
                (None, Ran::Done) | (Some(Failure::Request), Ran::Refused) | (Some(Failure::Neighbour), Ran::Hit) => {}
                other => panic!("{id}: {other:?}"),
            }
        }
    }
}

// --- The model ---------------------------------------------------------------------------------

/// What may happen next.
#[derive(Clone, Debug)]
enum Act {
    Submit(Does),
    Cancel(prop::sample::Index),
    /// The head, which is where it matters.
    CancelHead,
    Send(usize),
    Read(usize),
    Answer,
    Signal,
    Acknowledge,
}

fn act() -> impl Strategy<Value = Act> {
    let does = prop_oneof![
        8 => Just(Does::Rows),
        2 => Just(Does::Hangs),
        3 => prop::sample::select(&Does::ALL[..]),
    ];
    let few = prop_oneof![1_usize..60, Just(usize::MAX), Just(usize::MAX)];
    prop_oneof![
        6 => does.prop_map(Act::Submit),
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => Just(Act::CancelHead),
        5 => few.clone().prop_map(Act::Send),
        6 => few.prop_map(Act::Read),
        5 => Just(Act::Answer),
        3 => Just(Act::Signal),
        3 => Just(Act::Acknowledge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn cancels_harm_nobody_else(acts in prop::collection::vec(act(), 1..150), send_buffer in 1_usize..2_000) {
        let mut world = World::new(send_buffer);
        for act in acts {
            match act {
                Act::Submit(does) => {
                    world.submit(does);
                }
                Act::Cancel(_) if world.submitted.is_empty() => {}
                Act::Cancel(index) => world.cancel(world.submitted[index.index(world.submitted.len())]),
                Act::CancelHead => world.client.running_id().into_iter().for_each(|id| world.cancel(id)),
                Act::Send(most) => world.send(most),
                Act::Read(most) => world.read(most),
                Act::Answer => world.answer(),
                Act::Signal => world.signal(),
                Act::Acknowledge => world.acknowledge(),
            }
        }
        world.settle();
        world.check_end();
    }
}

// --- Case by case ------------------------------------------------------------------------------

/// A runs and is cancelled, the server is done with it already: the signal hits what comes next. All is read.
fn hit_the_second(does: &[Does]) -> (World, Vec<RequestId>) {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(does);
    world.send_all();
    world.answer();
    world.cancel(ids[0]);
    world.signal();
    world.read_all();
    world.acknowledge();
    (world, ids)
}

#[test]
fn a_victim_goes_again_behind_single_statements() {
    let (mut world, ids) = hit_the_second(&[Does::Rows, Does::Rows, Does::Rows, Does::Describes]);
    world.settle();
    world.check_end();
    assert_eq!(world.ran(ids[1]), [Ran::Hit, Ran::Done]);
    assert_eq!(world.finished[&ids[1]], None);
}

#[test]
fn a_victim_does_not_go_again_behind_what_changes_the_session() {
    for behind in [Does::Begins, Does::Calls] {
        let (mut world, ids) = hit_the_second(&[Does::Rows, Does::Rows, Does::Rows, behind]);
        world.settle();
        world.check_end();
        assert_eq!(world.ran(ids[1]), [Ran::Hit], "{behind:?}");
        assert_eq!(world.finished[&ids[1]], Some(Failure::Neighbour));
    }
}

#[test]
fn a_description_is_asked_for_again_whatever_is_behind_it() {
    let (mut world, ids) = hit_the_second(&[Does::Rows, Does::Describes, Does::Calls]);
    world.settle();
    world.check_end();
    assert_eq!(world.ran(ids[1]), [Ran::Hit, Ran::Done]);
}

#[test]
fn what_goes_again_comes_before_what_was_not_written() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows, Does::Rows, Does::Rows]);
    world.send_all();
    world.answer();
    world.cancel(ids[0]);
    let late = world.submit(Does::Begins);
    world.signal();
    world.read_all();
    world.acknowledge();
    world.send_all();
    let order: Vec<RequestId> = world.server.inbox.iter().map(|unit| unit.id).collect();
    assert_eq!(order, [ids[2], ids[1], late]);
}

/// The window has closed before the victim's error is read; its ReadyForQuery comes even later.
#[test]
fn nothing_is_written_between_a_victims_error_and_its_end() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows, Does::Rows]);
    world.send_all();
    world.answer();
    world.cancel(ids[0]);
    world.read_all();
    world.signal();
    world.acknowledge();
    assert!(!world.client.is_cancelling());
    let begin = world.submit(Does::Begins);
    world.read(world.server.wire.len() - 6);
    assert!(world.client.running_resends());
    world.send_all();
    assert!(world.server.inbox.is_empty());
    world.read_all();
    world.send_all();
    assert_eq!(world.server.inbox.iter().map(|unit| unit.id).collect::<Vec<_>>(), [ids[1], begin]);
}

#[test]
fn a_victim_that_is_cancelled_before_its_end_does_not_go_again() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows, Does::Rows]);
    world.send_all();
    world.answer();
    world.cancel(ids[0]);
    world.signal();
    world.read(world.server.wire.len() - 6);
    assert!(world.client.running_resends());
    world.cancel(ids[1]);
    world.settle();
    world.check_end();
    assert_eq!(world.ran(ids[1]), [Ran::Hit]);
}

/// It is no victim any more: its next 57014 is its own, be it a statement timeout or somebody's `cancel()`.
#[test]
fn what_went_again_is_exposed_no_longer() {
    let (mut world, ids) = hit_the_second(&[Does::Rows, Does::Rows]);
    world.send_all();
    world.server.end(true);
    world.read_all();
    assert_eq!(world.finished[&ids[1]], Some(Failure::Request));
}

/// Servers before 18 give two signals for one CancelRequest: its target is hit, and one that came next.
#[test]
fn one_cancel_may_hit_twice() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows, Does::Calls, Does::Rows]);
    world.send_all();
    world.cancel(ids[0]);
    world.signal();
    world.signal();
    world.read_all();
    world.acknowledge();
    world.settle();
    world.check_end();
    assert_eq!(world.finished[&ids[1]], Some(Failure::Neighbour));
    assert_eq!(world.finished[&ids[2]], None);
}

#[test]
fn a_second_hit_is_final() {
    let (mut world, ids) = hit_the_second(&[Does::Rows, Does::Rows, Does::Rows]);
    world.send_all();
    world.answer();
    world.cancel(ids[2]);
    world.signal();
    world.read_all();
    assert_eq!(world.ran(ids[1]), [Ran::Hit, Ran::Hit]);
    assert_eq!(world.finished[&ids[1]], Some(Failure::Neighbour));
    world.acknowledge();
    world.settle();
}

/// The first one's side connection has not ended yet when the second one, which runs, is cancelled too.
#[test]
fn a_head_cancelled_while_a_cancel_is_outstanding_gets_its_own() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Hangs, Does::Hangs, Does::Rows]);
    world.send_all();
    world.cancel(ids[0]);
    world.signal();
    world.read_all();
    world.cancel(ids[1]);
    world.acknowledge();
    assert_eq!(world.side.map(|side| side.target), Some(ids[1]));
    world.settle();
    world.check_end();
    assert_eq!(world.ran(ids[2]), [Ran::Done]);
}

/// Written and waiting, it still runs (semantics: its effects stay): no CancelRequest is sent for it.
#[test]
fn one_cancelled_while_it_waits_gets_none() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Hangs, Does::Rows]);
    world.send_all();
    world.cancel(ids[1]);
    world.cancel(ids[0]);
    world.signal();
    world.read_all();
    world.acknowledge();
    assert!(world.side.is_none() && !world.client.is_cancelling());
    world.settle();
    assert_eq!(world.ran(ids[1]), [Ran::Done]);
}

#[test]
fn asking_to_repeat_after_the_target_ended_changes_nothing() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows, Does::Rows]);
    world.send_all();
    world.cancel(ids[0]);
    world.answer();
    world.read_all();
    // The CancelRequest is still on its way: it may hit the second, and nothing new may be written.
    assert!(!world.client.cancel_again(ids[0]));
    assert!(world.client.is_cancelling());
    assert_eq!(world.client.cancel_delivered(ids[0]), CancelDelivered::Closed);
    assert!(!world.client.is_cancelling());
}

/// Would take minutes if each cancel searched.
#[test]
fn many_cancels_and_look_ups_take_no_search() {
    let mut world = World::new(1 << 20);
    let ids = world.submit_all(&[Does::Rows; 3]);
    world.send_all();
    for id in 1_000..200_000 {
        world.client.submit(request(id, Does::Rows));
    }
    for id in (1_000..200_000).rev() {
        assert!(world.client.job(id).is_some());
        assert!(matches!(world.client.cancel(id), CancelOutcome::Dropped(_)));
    }
    assert_eq!(world.client.unfinished(), ids.len());
    world.settle();
}
