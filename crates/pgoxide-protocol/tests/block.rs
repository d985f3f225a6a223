//! The transaction block of the client's machine: a model of the server's transactions, whatever fails and however requests
//! are pipelined, and the cases it is made of, one by one.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(missing_docs, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};

use pgoxide_protocol::client::{
    Commands, Connection, Event, Failure, LevelId, Limits, Request, RequestId, Resend, Stage, Standing, Step,
};
use pgoxide_protocol::codes::TransactionStatus::{self, Failed, Idle, InTransaction};
use pgoxide_protocol::message::{Bind, execute, parse, query, sync};
use pgoxide_protocol::server;
use proptest::prelude::*;

// --- Requests ----------------------------------------------------------------------------------

/// Parse, Bind, Execute of a text, and of the commands that end a level.
fn request(id: RequestId, text: &str, end: Option<&Commands>) -> Request<u64> {
    let mut bytes = Vec::new();
    parse::write(&mut bytes, b"", text.as_bytes(), &[]).unwrap();
    let none = Bind {
        portal: b"",
        statement: b"",
        parameter_formats: (&[][..]).into(),
        parameters: (&[][..]).into(),
        result_formats: (&[][..]).into(),
    };
    none.encode(&mut bytes).unwrap();
    execute::write(&mut bytes, b"", 0).unwrap();
    let mut steps: Vec<Step> = vec![Step::Parse, Step::Bind, Step::Execute];
    if let Some(end) = end {
        end.append(&mut bytes, &mut steps);
    }
    sync::write(&mut bytes);
    steps.push(Step::Sync);
    Request { id, bytes, steps: steps.into(), barrier: false, open: false, resend: Resend::Never, job: id }
}

/// Only commands, none or some, and Sync.
fn bare(id: RequestId, commands: &Commands) -> Request<u64> {
    let (mut bytes, mut steps) = (Vec::new(), Vec::new());
    commands.append(&mut bytes, &mut steps);
    sync::write(&mut bytes);
    steps.push(Step::Sync);
    Request { id, bytes, steps: steps.into(), barrier: true, open: false, resend: Resend::Never, job: id }
}

/// One command by the simple protocol.
fn simple(id: RequestId, text: &str) -> Request<u64> {
    let mut bytes = Vec::new();
    query::write(&mut bytes, text.as_bytes()).unwrap();
    let steps = vec![Step::CommandExecute, Step::Sync].into();
    Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job: id }
}

// --- The server --------------------------------------------------------------------------------

/// Transactions as PostgreSQL has them: what runs is kept, undone, or part of an implicit transaction.
#[derive(Default)]
struct Backend {
    machine: server::Connection,
    status: Option<TransactionStatus>,
    text: String,
    /// The unnamed portal; it ends with its transaction.
    portal: bool,
    failed: bool,
    /// Savepoints, and how much had been done.
    savepoints: Vec<(String, usize)>,
    /// Done in the transaction, explicit or implicit.
    done: Vec<String>,
    kept: Vec<String>,
    /// Done in a transaction of its own.
    alone: Vec<String>,
    /// What the next BEGINs and SAVEPOINTs come to; true: an error.
    refusals: VecDeque<bool>,
    heard: String,
}

impl Backend {
    fn status(&self) -> TransactionStatus {
        self.status.unwrap_or(Idle)
    }

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
                    self.heard.push('P');
                    self.text = String::from_utf8(sql).unwrap();
                    self.machine.parse_complete().unwrap();
                }
                R::Bind { .. } => {
                    self.heard.push('B');
                    self.portal = true;
                    self.machine.bind_complete().unwrap();
                }
                R::DescribePortal(_) if self.portal => {
                    self.heard.push('D');
                    self.machine.no_data().unwrap();
                }
                R::DescribePortal(_) => {
                    self.heard.push('D');
                    self.fail(b"34000");
                }
                R::Execute { .. } => {
                    self.heard.push('E');
                    self.execute();
                }
                R::Sync => {
                    self.heard.push('S');
                    if self.status() == Idle {
                        self.end(!self.failed);
                    }
                    self.failed = false;
                    let status = self.status();
                    self.machine.ready_for_query(status).unwrap();
                }
                R::Query(sql) => {
                    self.heard.push('Q');
                    self.text = String::from_utf8(sql).unwrap();
                    self.execute();
                    self.failed = false;
                    let status = self.status();
                    self.machine.ready_for_query(status).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn fail(&mut self, state: &[u8]) {
        self.failed = true;
        if self.status() == Idle {
            self.end(false);
        } else {
            self.status = Some(Failed);
        }
        self.machine.error(state, b"no").unwrap();
    }

    fn end(&mut self, well: bool) {
        let done = std::mem::take(&mut self.done);
        if well {
            self.kept.extend(done);
        }
        self.savepoints.clear();
        self.portal = false;
        self.status = Some(Idle);
    }

    fn execute(&mut self) {
        let text = std::mem::take(&mut self.text);
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let opens = matches!(word, "begin" | "savepoint");
        if opens && self.refusals.pop_front() == Some(true) {
            return self.fail(b"0A000");
        }
        if self.status() == Failed && word != "rollback" && word != "commit" {
            return self.fail(b"25P02");
        }
        let tag = match (word, rest) {
            ("begin", _) => {
                self.status = Some(InTransaction);
                "BEGIN"
            }
            ("commit", _) => {
                let well = self.status() == InTransaction;
                if rest == "refused" {
                    self.end(false);
                    return self.machine.error(b"23505", b"no").unwrap();
                }
                self.end(well);
                if well { "COMMIT" } else { "ROLLBACK" }
            }
            ("rollback", "") => {
                self.end(false);
                "ROLLBACK"
            }
            ("rollback", name) => {
                let Some(at) = self.savepoints.iter().rposition(|(one, _)| name.ends_with(one)) else {
                    return self.fail(b"3B001");
                };
                self.done.truncate(self.savepoints[at].1);
                self.savepoints.truncate(at + 1);
                self.status = Some(InTransaction);
                "ROLLBACK"
            }
            ("savepoint", _) if self.status() == Idle => return self.fail(b"25P01"),
            ("savepoint", name) => {
                self.savepoints.push((name.into(), self.done.len()));
                "SAVEPOINT"
            }
            ("release", name) => {
                let Some(at) = self.savepoints.iter().rposition(|(one, _)| name.ends_with(one)) else {
                    return self.fail(b"3B001");
                };
                self.savepoints.truncate(at);
                "RELEASE"
            }
            ("error", _) => return self.fail(b"22012"),
            _ => {
                if self.status() == Idle {
                    self.alone.push(text.clone());
                }
                self.done.push(text.clone());
                "SELECT 1"
            }
        };
        self.machine.command_complete(tag.as_bytes()).unwrap();
    }
}

// --- Both --------------------------------------------------------------------------------------

struct Pair {
    client: Connection<u64>,
    backend: Backend,
    /// How each request ended.
    over: BTreeMap<RequestId, Option<Failure>>,
    failure: Option<Failure>,
    next: RequestId,
}

impl Pair {
    fn new() -> Self {
        let mut client = Connection::new(Limits::default());
        client.start(&[(b"user", b"u")]).unwrap();
        let backend = Backend::default();
        let mut pair = Self { client, backend, over: BTreeMap::new(), failure: None, next: 1 };
        pair.talk();
        pair.backend.heard.clear();
        pair
    }

    /// One flight each way. False when nothing was said.
    fn exchange(&mut self) -> bool {
        self.client.pump();
        let bytes = self.client.outgoing().to_vec();
        self.client.sent(bytes.len());
        self.backend.receive(&bytes);
        let back = self.backend.machine.take_output();
        let mut used = 0;
        while let Some(event) = self.client.next_event(&back, &mut used).unwrap() {
            match event {
                Event::Failed(_, failure, _) => self.failure = Some(failure),
                Event::Finished { id, .. } => {
                    assert!(self.over.insert(id, self.failure.take()).is_none());
                }
                _ => {}
            }
        }
        assert_eq!(used, back.len());
        for (id, _) in self.client.take_stranded() {
            self.over.insert(id, Some(Failure::NotBegun));
        }
        !bytes.is_empty()
    }

    fn talk(&mut self) {
        while self.exchange() {}
    }

    fn ask(&mut self, make: impl FnOnce(RequestId) -> Request<u64>, standing: Standing) -> RequestId {
        let id = self.next;
        self.next += 1;
        self.client.submit_at(make(id), standing);
        id
    }

    /// A statement inside.
    fn run(&mut self, level: LevelId, text: &str) -> RequestId {
        self.ask(|id| request(id, text, None), Standing::Inside(level))
    }

    /// Enters a level: BEGIN, or a savepoint named after its depth.
    fn enter(&mut self, depth: usize) -> LevelId {
        let level = self.next;
        self.next += 1;
        let (open, undo, _) = level_of(depth);
        self.client.enter(level, depth, open, undo);
        level
    }

    /// COMMIT goes by the simple protocol when nothing can come in front of it.
    fn end(&mut self, level: LevelId, depth: usize) -> RequestId {
        if depth == 0 && self.client.is_idle() && self.client.stage(level) == Some(Stage::Open) {
            return self.ask(|id| simple(id, "commit"), Standing::Ends(level));
        }
        self.ask(|id| bare(id, &level_of(depth).2), Standing::Ends(level))
    }

    /// BEGIN or a SAVEPOINT has failed since this level was entered.
    fn met_refusal(&self, level: LevelId) -> bool {
        self.over.range(level..).any(|(_, over)| matches!(over, Some(Failure::Opening | Failure::NotBegun)))
    }

    fn undo(&mut self, level: LevelId) -> RequestId {
        self.ask(|id| bare(id, &Commands::default()), Standing::Undoes(level))
    }
}

/// What opens a level, undoes it, ends it.
fn level_of(depth: usize) -> (Commands, Commands, Commands) {
    let of = |texts: &[&str]| Commands::new(texts).unwrap();
    if depth == 0 {
        return (of(&["begin"]), of(&["rollback"]), of(&["commit"]));
    }
    let (back, release) = (format!("rollback to p{depth}"), format!("release p{depth}"));
    (of(&[&format!("savepoint p{depth}")]), of(&[&back, &release]), of(&[&release]))
}

// --- Cases -------------------------------------------------------------------------------------

#[test]
fn a_nul_byte_in_a_command_is_refused() {
    assert!(Commands::new(&["begin", "savepoint \0"]).is_err());
}

#[test]
fn what_opens_it_travels_with_the_first_statement() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    pair.talk();
    assert_eq!((pair.backend.heard.as_str(), pair.client.stage(block)), ("", Some(Stage::Pending)));
    pair.run(block, "one");
    pair.client.pump();
    assert_eq!(pair.client.stage(block), Some(Stage::Opening));
    pair.talk();
    assert_eq!((pair.backend.heard.as_str(), pair.client.stage(block)), ("PBEPBES", Some(Stage::Open)));
    pair.run(block, "two");
    pair.end(block, 0);
    pair.talk();
    assert_eq!(pair.backend.heard, "PBEPBES".to_owned() + "PBES" + "PBES");
    assert_eq!(pair.backend.kept, ["one", "two"]);
    assert_eq!(pair.client.stage(block), None);
    assert!(pair.backend.alone.is_empty());
}

#[test]
fn its_end_travels_with_the_last_statement() {
    let mut pair = Pair::new();
    let (block, inner) = (pair.enter(0), pair.enter(1));
    let (_, _, release) = level_of(1);
    pair.ask(|id| request(id, "one", Some(&release)), Standing::Ends(inner));
    pair.talk();
    assert_eq!(pair.backend.heard, "PBE".to_owned() + "PBE" + "PBE" + "PBES");
    assert_eq!((pair.client.stage(block), pair.client.stage(inner)), (Some(Stage::Open), None));
    let (_, _, commit) = level_of(0);
    let last = pair.ask(|id| request(id, "error", Some(&commit)), Standing::Ends(block));
    pair.talk();
    assert_eq!(pair.over[&last], Some(Failure::Request));
    assert_eq!(pair.client.stage(block), Some(Stage::Open), "the server has not come to COMMIT");
    pair.undo(block);
    pair.talk();
    assert_eq!((pair.client.stage(block), pair.backend.status(), pair.backend.kept.len()), (None, Idle, 0));
}

/// Statements pipelined behind a BEGIN that fails do not run: alone they would commit by themselves.
#[test]
fn nothing_runs_behind_a_begin_that_fails() {
    let mut pair = Pair::new();
    pair.backend.refusals = [true].into();
    let block = pair.enter(0);
    let all = ["one", "two", "three"].map(|text| pair.run(block, text));
    pair.talk();
    assert_eq!(pair.over[&all[0]], Some(Failure::Opening));
    assert_eq!([pair.over[&all[1]], pair.over[&all[2]]], [Some(Failure::NotBegun); 2]);
    assert!(pair.backend.alone.is_empty() && pair.backend.kept.is_empty());
    assert_eq!(pair.client.stage(block), Some(Stage::Pending));
    // The next one inside tries again.
    let again = pair.run(block, "four");
    pair.talk();
    assert_eq!((pair.over[&again], pair.client.stage(block)), (None, Some(Stage::Open)));
    pair.end(block, 0);
    pair.talk();
    assert_eq!(pair.backend.kept, ["four"]);
}

#[test]
fn behind_one_that_succeeds_the_guard_lets_them_through() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    let all = ["one", "error", "three"].map(|text| pair.run(block, text));
    pair.talk();
    assert_eq!(pair.backend.heard, "PBEPBES".to_owned() + "DPBES" + "DPBES");
    assert_eq!(all.map(|id| pair.over[&id]), [None, Some(Failure::Request), Some(Failure::Request)]);
    pair.undo(block);
    pair.talk();
    assert!(pair.backend.kept.is_empty() && pair.backend.alone.is_empty());
}

/// A savepoint behind a transaction that seemed to be opening: nothing more is written before it is known how that went.
#[test]
fn a_savepoint_behind_a_begin_that_fails() {
    let mut pair = Pair::new();
    pair.backend.refusals = [true, false, false].into();
    let block = pair.enter(0);
    pair.run(block, "one");
    pair.client.pump();
    let inner = pair.enter(1);
    let inside = pair.run(inner, "two");
    pair.talk();
    // Its SAVEPOINT is refused outside a transaction: it went without BEGIN, which was on its way.
    assert_eq!(pair.over[&inside], Some(Failure::Opening));
    assert_eq!((pair.client.stage(block), pair.client.stage(inner)), (Some(Stage::Pending), Some(Stage::Pending)));
    pair.run(inner, "three");
    pair.talk();
    assert_eq!((pair.client.stage(block), pair.client.stage(inner)), (Some(Stage::Open), Some(Stage::Open)));
    pair.undo(inner);
    pair.end(block, 0);
    pair.talk();
    assert!(pair.backend.kept.is_empty() && pair.backend.alone.is_empty());
    assert_eq!(pair.backend.status(), Idle);
}

#[test]
fn a_refused_commit_ends_it_all_the_same() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    pair.run(block, "one");
    let refused = Commands::new(&["commit refused"]).unwrap();
    let end = pair.ask(|id| bare(id, &refused), Standing::Ends(block));
    pair.talk();
    assert_eq!((pair.over[&end], pair.client.stage(block)), (Some(Failure::Request), None));
    assert!(pair.backend.kept.is_empty());
}

/// COMMIT by the simple protocol is answered as an Execute and a Sync are, whatever it comes to.
#[test]
fn a_simple_commit() {
    for (text, before, over, kept) in [
        ("commit", "one", None, true),
        ("commit", "error", None, false),
        ("commit refused", "one", Some(Failure::Request), false),
    ] {
        let mut pair = Pair::new();
        let block = pair.enter(0);
        pair.run(block, before);
        pair.talk();
        let end = pair.ask(|id| simple(id, text), Standing::Ends(block));
        let behind = pair.ask(|id| request(id, "behind", None), Standing::Outside);
        pair.talk();
        assert_eq!((pair.over[&end], pair.over[&behind], pair.client.stage(block)), (over, None, None), "{text}");
        assert_eq!(pair.backend.heard, "PBEPBES".to_owned() + "Q" + "PBES");
        assert_eq!(pair.backend.kept.contains(&"one".to_owned()), kept, "{text}");
        assert_eq!(pair.backend.alone, ["behind"]);
    }
}

/// A statement inside ends the transaction: what waits to be written inside comes back unwritten, what stands apart runs.
#[test]
fn ended_by_a_statement_inside() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    pair.run(block, "one");
    pair.talk();
    let script = |id| {
        let mut bytes = Vec::new();
        query::write(&mut bytes, b"commit").unwrap();
        let steps = vec![Step::Query, Step::Sync].into();
        Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job: id }
    };
    pair.ask(script, Standing::Inside(block));
    let late = pair.run(block, "two");
    pair.talk();
    assert_eq!(pair.over[&late], Some(Failure::NotBegun));
    assert!(pair.client.is_over(block));
    assert!(pair.client.leave_unsaid(block));
    pair.ask(|id| request(id, "apart", None), Standing::Outside);
    pair.talk();
    assert_eq!((pair.backend.kept, pair.backend.alone), (vec!["one".into(), "apart".into()], vec!["apart".into()]));
}

#[test]
fn left_without_a_word() {
    let mut pair = Pair::new();
    let (block, inner) = (pair.enter(0), pair.enter(1));
    assert!(pair.client.leave_unsaid(inner) && pair.client.leave_unsaid(block));
    let block = pair.enter(0);
    pair.run(block, "one");
    assert!(!pair.client.leave_unsaid(block), "a request inside waits to be written");
    pair.talk();
    assert!(!pair.client.leave_unsaid(block), "it is open");
    // Undone while its opening has been written and the next transaction waits behind.
    pair.undo(block);
    let next = pair.enter(0);
    pair.run(next, "two");
    pair.end(next, 0);
    pair.talk();
    assert_eq!(pair.backend.kept, ["two"]);
    assert!(pair.backend.alone.is_empty());
}

/// What was asked before a savepoint was entered is not in it, though it is written behind.
#[test]
fn asked_before_the_savepoint() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    pair.run(block, "one");
    let inner = pair.enter(1);
    pair.run(inner, "two");
    pair.undo(inner);
    // Nor is what comes after it, nor the next savepoint, entered before the answer.
    pair.run(block, "three");
    let next = pair.enter(1);
    pair.run(next, "four");
    pair.end(next, 1);
    pair.end(block, 0);
    pair.talk();
    assert_eq!(pair.backend.kept, ["one", "three", "four"]);
}

/// The next transaction is entered while the first one is being undone and a statement of it waits.
#[test]
fn entered_behind_one_that_is_being_undone() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    pair.run(block, "one");
    pair.undo(block);
    let next = pair.enter(0);
    let two = pair.run(next, "two");
    pair.talk();
    assert_eq!((pair.over[&two], pair.client.stage(block), pair.client.stage(next)), (None, None, Some(Stage::Open)));
    pair.end(next, 0);
    pair.talk();
    assert_eq!(pair.backend.kept, ["two"]);
    assert!(pair.backend.alone.is_empty());
}

/// A request that is cancelled before it was written takes nothing along: the next one brings BEGIN.
#[test]
fn the_first_statement_is_cancelled() {
    let mut pair = Pair::new();
    let block = pair.enter(0);
    let first = pair.run(block, "one");
    pair.client.cancel(first);
    assert_eq!(pair.client.stage(block), Some(Stage::Pending));
    pair.run(block, "two");
    pair.end(block, 0);
    pair.talk();
    assert_eq!(pair.backend.kept, ["two"]);
    assert!(pair.backend.alone.is_empty());
}

// --- The model ---------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Act {
    Enter,
    Run,
    Fail,
    /// Bytes go back and forth once.
    Exchange,
    /// Leaves the innermost level well, and undoes it when that fails.
    Leave,
    /// Undoes the innermost level without waiting for the answer.
    Undo,
    /// The statement is the last one: it brings the level's end.
    Last,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Enter),
        6 => Just(Act::Run),
        1 => Just(Act::Fail),
        2 => Just(Act::Exchange),
        2 => Just(Act::Leave),
        1 => Just(Act::Undo),
        1 => Just(Act::Last),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever fails: no statement of a block runs alone, what was undone is not kept, every request comes back, and in
    /// the end the session is idle.
    #[test]
    fn nothing_of_a_block_runs_alone(
        acts in prop::collection::vec(act(), 1..40),
        refusals in prop::collection::vec(prop::bool::weighted(0.3), 0..12),
    ) {
        let mut pair = Pair::new();
        pair.backend.refusals = refusals.into();
        // Levels that are open here, each with the statements done in it, and those that must not be kept.
        let mut levels: Vec<(LevelId, Vec<(RequestId, String)>)> = Vec::new();
        let (mut undone, mut committed) = (Vec::new(), Vec::new());
        let mut apart: Vec<String> = Vec::new();
        for act in acts.into_iter().chain(vec![Act::Leave; 40]) {
            match act {
                Act::Enter => {
                    let level = pair.enter(levels.len());
                    levels.push((level, Vec::new()));
                }
                Act::Run | Act::Fail => {
                    let text = if matches!(act, Act::Fail) { "error".into() } else { format!("s{}", pair.next) };
                    match levels.last_mut() {
                        Some((level, done)) => {
                            done.push((pair.run(*level, &text), text));
                        }
                        None if text == "error" => {}
                        None => {
                            pair.ask(|id| request(id, &text, None), Standing::Outside);
                            apart.push(text);
                        }
                    }
                }
                Act::Exchange => {
                    pair.exchange();
                }
                Act::Leave | Act::Last => {
                    let Some((level, mut done)) = levels.pop() else { continue };
                    let depth = levels.len();
                    let mut well = true;
                    if matches!(act, Act::Last) {
                        let end = level_of(depth).2;
                        let text = format!("s{}", pair.next);
                        done.push((pair.ask(|id| request(id, &text, Some(&end)), Standing::Ends(level)), text));
                        pair.talk();
                    } else if !pair.client.leave_unsaid(level) {
                        let end = pair.end(level, depth);
                        done.push((end, String::new()));
                        pair.talk();
                    }
                    if pair.client.stage(level).is_some() {
                        well = false;
                        pair.undo(level);
                        pair.talk();
                    }
                    prop_assert_eq!(pair.client.stage(level), None);
                    match levels.last_mut() {
                        _ if !well => undone.extend(done),
                        Some((_, outer)) => outer.extend(done),
                        // COMMIT of a transaction that has failed is answered by ROLLBACK.
                        None if done.iter().all(|(id, _)| pair.over[id].is_none()) && !pair.met_refusal(level) => {
                            committed.extend(done);
                        }
                        None => {}
                    }
                }
                Act::Undo => {
                    let Some((level, done)) = levels.pop() else { continue };
                    pair.undo(level);
                    undone.extend(done);
                }
            }
        }
        pair.talk();
        prop_assert!(pair.client.is_idle());
        prop_assert_eq!(pair.backend.status(), Idle);
        prop_assert_eq!(&pair.backend.alone, &apart);
        for (_, text) in undone.iter().filter(|(_, text)| !text.is_empty()) {
            prop_assert!(!pair.backend.kept.contains(text), "{} was undone", text);
        }
        for (_, text) in committed.iter().filter(|(_, text)| !text.is_empty()) {
            prop_assert!(pair.backend.kept.contains(text), "{} was committed", text);
        }
    }
}
