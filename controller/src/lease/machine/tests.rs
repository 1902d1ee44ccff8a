//! Tables, and the property that matters: never two leaders.

use proptest::{prelude::*, sample::Index};

use super::*;

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

/// The API server's Lease.
#[derive(Default)]
struct Server {
    record: Option<Record>,
    version: u64,
    /// Each new holder with its term, in order.
    holders: Vec<(String, u32)>,
}

impl Server {
    fn read(&self) -> Option<Record> {
        self.record.clone()
    }

    fn write(&mut self, write: &Write) -> Written {
        if self.record.as_ref().map(|r| &r.version) != write.over.as_ref() {
            return Written::Conflict;
        }
        let was = self
            .record
            .as_ref()
            .map(|r| (r.holder.clone(), r.transitions));
        let is = (write.holder.clone(), write.transitions);
        if was.as_ref() != Some(&is) && !is.0.is_empty() {
            self.holders.push(is);
        }
        self.version += 1;
        let record = Record {
            holder: write.holder.clone(),
            lease: TIMING.lease,
            transitions: write.transitions,
            version: self.version.to_string(),
            address: None,
        };
        self.record = Some(record.clone());
        Written::Done(record)
    }
}

/// Does what is to be done at once, without losses; gives what began, `Err` once lost.
fn settle(
    machine: &mut Machine,
    server: &mut Server,
    now: Moment,
) -> Result<Option<Began>, String> {
    let mut began = None;
    loop {
        match machine.step(now, true) {
            Step::Rest(_) => return Ok(began),
            Step::Look => machine.seen(now, Ok(server.read())),
            Step::Write(write) => {
                let result = server.write(&write);
                began = machine.written(now, now, &write, result).or(began);
            }
            Step::Lost(to) => return Err(to),
        }
    }
}

fn candidate(name: &str) -> Machine {
    Machine::new(name.to_owned(), TIMING)
}

#[test]
fn the_first_leads_at_once_and_the_next_after_the_lease() {
    let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
    let began = settle(&mut a, &mut server, at(0)).unwrap().unwrap();
    assert_eq!((began.term, began.continues), (0, None));
    assert_eq!(a.until(), Some(at(10)));
    for second in 0..4 {
        assert_eq!(settle(&mut b, &mut server, at(second)), Ok(None));
    }
    // Renewed: b waits from when it sees that.
    assert_eq!(settle(&mut a, &mut server, at(4)), Ok(None));
    assert_eq!(a.until(), Some(at(14)));
    for second in 5..20 {
        assert_eq!(
            settle(&mut b, &mut server, at(second)),
            Ok(None),
            "{second}"
        );
    }
    let began = settle(&mut b, &mut server, at(20)).unwrap().unwrap();
    assert_eq!((began.term, began.continues), (1, None));
    assert_eq!(settle(&mut a, &mut server, at(21)), Err("b".to_owned()));
    assert_eq!(a.until(), None);
}

#[test]
fn a_lease_given_back_is_taken_at_once() {
    let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
    settle(&mut a, &mut server, at(0)).unwrap();
    settle(&mut b, &mut server, at(0)).unwrap();
    let back = a.retire().unwrap();
    assert_eq!(a.until(), None);
    server.write(&back);
    b.hint(at(1));
    let began = settle(&mut b, &mut server, at(1)).unwrap().unwrap();
    // Nobody in between, but not by b: there is nothing that b could continue.
    assert_eq!((began.term, began.continues), (1, Some(0)));
    // The one that retired only looks.
    a.hint(at(1));
    assert_eq!(settle(&mut a, &mut server, at(1)), Ok(None));
    assert_eq!(a.record().unwrap().holder, "b");
}

#[test]
fn a_restart_goes_on_with_its_term_unless_another_led() {
    let mut server = Server::default();
    settle(&mut candidate("a"), &mut server, at(0)).unwrap();
    let began = settle(&mut candidate("a"), &mut server, at(3))
        .unwrap()
        .unwrap();
    assert_eq!((began.term, began.continues), (0, Some(0)));
    let mut b = candidate("b");
    for second in 4..19 {
        assert_eq!(settle(&mut b, &mut server, at(second)), Ok(None));
    }
    settle(&mut b, &mut server, at(19)).unwrap().unwrap();
    server.write(&b.retire().unwrap());
    let began = settle(&mut candidate("a"), &mut server, at(20))
        .unwrap()
        .unwrap();
    // Its own last term was 0.
    assert_eq!((began.term, began.continues), (2, Some(1)));
}

#[test]
fn without_an_api_server_it_stops_acting_and_goes_on_afterwards() {
    let (mut server, mut a) = (Server::default(), candidate("a"));
    settle(&mut a, &mut server, at(0)).unwrap();
    for second in (2..60).step_by(4) {
        match a.step(at(second), true) {
            Step::Write(write) => {
                a.written(at(second), at(second + 1), &write, Written::Unknown);
            }
            Step::Look => a.seen(at(second), Err(())),
            other => panic!("{other:?}"),
        }
        assert_eq!(a.until(), Some(at(10)));
    }
    assert_eq!(settle(&mut a, &mut server, at(70)), Ok(None));
    assert_eq!(a.until(), Some(at(80)));
    assert_eq!(server.holders.len(), 1);
}

#[test]
fn after_an_outage_the_holder_has_time_to_go_on() {
    let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
    settle(&mut a, &mut server, at(0)).unwrap();
    settle(&mut b, &mut server, at(1)).unwrap();
    for second in (3..60).step_by(2) {
        assert_eq!(b.step(at(second), true), Step::Look);
        b.seen(at(second), Err(()));
    }
    assert_eq!(settle(&mut b, &mut server, at(61)), Ok(None));
    assert_eq!(settle(&mut a, &mut server, at(62)), Ok(None));
    assert_eq!(a.until(), Some(at(72)));
    // If it does not do so again, it has gone.
    for second in (63..76).step_by(2) {
        assert_eq!(
            settle(&mut b, &mut server, at(second)),
            Ok(None),
            "{second}"
        );
    }
}

#[test]
fn who_does_not_stand_only_looks() {
    let (server, mut a) = (Server::default(), candidate("a"));
    for second in 0..9 {
        match a.step(at(second), false) {
            Step::Look => a.seen(at(second), Ok(server.read())),
            Step::Rest(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lease_that_was_removed_is_made_again_by_its_holder_first() {
    let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
    settle(&mut a, &mut server, at(0)).unwrap();
    settle(&mut b, &mut server, at(0)).unwrap();
    server.record = None;
    assert_eq!(settle(&mut b, &mut server, at(2)), Ok(None));
    assert_eq!(settle(&mut a, &mut server, at(2)), Ok(None));
    assert_eq!(server.read().unwrap().holder, "a");
    // Too late to know who had it meanwhile.
    server.record = None;
    assert_eq!(settle(&mut a, &mut server, at(14)), Err(String::new()));
}

#[test]
fn times_without_a_margin_are_refused() {
    TIMING.check().unwrap();
    let equal = Timing {
        lease: TIMING.deadline,
        ..TIMING
    };
    let slow = Timing {
        retry: Duration::from_secs(5),
        ..TIMING
    };
    let odd = Timing {
        lease: Duration::from_millis(15_500),
        ..TIMING
    };
    for bad in [equal, slow, odd] {
        assert_eq!(bad.check(), Err(TimingError));
    }
}

/// What happens next in the world.
#[derive(Clone, Debug)]
enum Op {
    /// Real time goes on, in ms.
    Pass(u64),
    /// A replica does what is to be done; a frozen one is one that is never chosen.
    Act(Index),
    /// Its request arrives at the server.
    Serve(Index),
    /// The answer arrives.
    Deliver(Index),
    /// It gives up waiting. What it sent may still arrive.
    GiveUp(Index),
    /// What was given up arrives after all.
    Late(Index),
    /// Killed, and started again with the same identity.
    Restart(Index),
    /// Ends in order, and comes again.
    Retire(Index),
}

fn op() -> impl Strategy<Value = Op> {
    let of = any::<Index>();
    prop_oneof![
        3 => (1..4000_u64).prop_map(Op::Pass),
        6 => of.clone().prop_map(Op::Act),
        5 => of.clone().prop_map(Op::Serve),
        5 => of.clone().prop_map(Op::Deliver),
        1 => of.clone().prop_map(Op::GiveUp),
        1 => of.clone().prop_map(Op::Late),
        1 => of.clone().prop_map(Op::Restart),
        1 => of.prop_map(Op::Retire),
    ]
}

enum Flight {
    Sent,
    Looked(Option<Record>),
    Wrote(Written),
}

struct Replica {
    name: String,
    /// Its clock's rate in thousandths of real time, and its reading at the beginning.
    rate: u64,
    offset: u64,
    machine: Machine,
    /// What was sent, when, and what came of it.
    flight: Option<(Step, Moment, Flight)>,
    /// The terms in which it led.
    terms: Vec<u32>,
}

impl Replica {
    fn now(&self, real: u64) -> Moment {
        Moment(Duration::from_micros(self.offset * 1000 + real * self.rate))
    }

    fn act(&mut self, real: u64) {
        let now = self.now(real);
        if self.flight.is_none()
            && let step @ (Step::Look | Step::Write(_)) = self.machine.step(now, true)
        {
            self.flight = Some((step, now, Flight::Sent));
        }
    }

    fn serve(&mut self, server: &mut Server) {
        if let Some((step, _, flight @ Flight::Sent)) = &mut self.flight {
            *flight = match step {
                Step::Write(write) => Flight::Wrote(server.write(write)),
                _ => Flight::Looked(server.read()),
            };
        }
    }

    fn deliver(&mut self, real: u64, late: &mut Vec<Write>, answered: bool) {
        let now = self.now(real);
        let Some((step, sent, flight)) = self.flight.take() else {
            return;
        };
        let began = match (step, flight, answered) {
            (Step::Write(write), Flight::Wrote(result), true) => {
                self.machine.written(sent, now, &write, result)
            }
            (Step::Write(write), flight, false) => {
                if matches!(flight, Flight::Sent) {
                    late.push(write.clone());
                }
                self.machine.written(sent, now, &write, Written::Unknown)
            }
            (_, Flight::Looked(found), true) => {
                self.machine.seen(now, Ok(found));
                None
            }
            (Step::Look, _, false) => {
                self.machine.seen(now, Err(()));
                None
            }
            (step, flight, _) => {
                self.flight = Some((step, sent, flight));
                None
            }
        };
        if let Some(began) = began {
            if let Some(continued) = began.continues
                && self.terms.last() == Some(&continued)
            {
                self.terms.pop();
            }
            self.terms.push(began.term);
        }
    }

    fn restart(&mut self) {
        self.machine = Machine::new(self.name.clone(), TIMING);
        self.flight = None;
    }

    fn acts(&self, real: u64) -> bool {
        let now = self.now(real);
        self.machine.until().is_some_and(|until| now < until)
    }
}

fn pick<'a>(replicas: &'a mut [Replica], of: &Index) -> &'a mut Replica {
    let at = of.index(replicas.len());
    &mut replicas[at]
}

proptest! {
    /// Whatever is late, lost, frozen, killed or restarted, and though clocks run at rates from 0.85 to 1.2.
    #[test]
    fn never_two_leaders(
        clocks in proptest::collection::vec((850..1200_u64, 0..1_000_000_u64), 2..4),
        ops in proptest::collection::vec(op(), 1..400),
    ) {
        let replica = |(number, (rate, offset)): (usize, (u64, u64))| {
            let name = format!("r{number}");
            Replica { machine: candidate(&name), name, rate, offset, flight: None, terms: Vec::new() }
        };
        let mut replicas: Vec<_> = clocks.into_iter().enumerate().map(replica).collect();
        let (mut server, mut real, mut late) = (Server::default(), 0, Vec::new());
        for op in ops {
            match op {
                Op::Pass(time) => real += time,
                Op::Act(of) => pick(&mut replicas, &of).act(real),
                Op::Serve(of) => pick(&mut replicas, &of).serve(&mut server),
                Op::Deliver(of) => pick(&mut replicas, &of).deliver(real, &mut late, true),
                Op::GiveUp(of) => pick(&mut replicas, &of).deliver(real, &mut late, false),
                Op::Late(of) if !late.is_empty() => {
                    server.write(&late.remove(of.index(late.len())));
                }
                Op::Late(_) => {}
                Op::Restart(of) => pick(&mut replicas, &of).restart(),
                Op::Retire(of) => {
                    let replica = pick(&mut replicas, &of);
                    if let Some(back) = replica.machine.retire() {
                        server.write(&back);
                    }
                    replica.restart();
                }
            }
            let acting: Vec<_> = replicas.iter().filter(|r| r.acts(real)).map(|r| &r.name).collect();
            prop_assert!(acting.len() <= 1, "{acting:?} at {real}");
        }
        // A term belongs to one replica: what a log of that term holds, nobody else's can.
        let mut terms: Vec<_> = server.holders.clone();
        terms.sort();
        terms.dedup();
        for pair in terms.iter() {
            prop_assert_eq!(terms.iter().filter(|t| t.1 == pair.1).count(), 1, "{:?}", &server.holders);
        }
    }
}
