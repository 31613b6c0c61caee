//! Several electors and one Lease: never two lead, nobody floods the API server, and in the end one leads.
//!
//! The API server, the network, the clocks and the processes do what they may: requests are lost, refused,
//! or carried out late or without an answer; processes are stopped, killed and started anew; clocks run
//! unevenly and are set; somebody deletes the Lease or writes into it. The electors are the real ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quayctl_core::elector::{
    Answer, CALL_TIMEOUT, Effect, Event, LEASE_DURATION, LeaderElector, RETRY_PERIOD, Request,
};
use quayctl_core::now::Now;

/// Of each test that is to find nothing.
const SEEDS: u64 = 2000;
/// In which a broken rule is to be found.
const SEEDS_TO_BE_CAUGHT: u64 = 2000;
/// Monotonic clocks of machines differ by less than one in a thousand; the slowest leader and the fastest
/// other may differ by half.
const CLOCK_RATES: Range<u64> = 900..1101;
/// In true time, by the slowest clock: a look just before the last fault, two that wait for each other's
/// timeout, and the one that finds the Lease expired.
const SETTLED_AFTER: u64 = micros(LEASE_DURATION).saturating_add(4 * micros(RETRY_PERIOD)) * 1000 / 900;
/// How long nothing may change once it has settled.
const CALM: u64 = 30 * SECOND;
/// A renewal, a look, another renewal, and the same for the release.
const REQUESTS_PER_SECOND_MAX: u32 = 8;
const SECOND: u64 = 1_000_000;

const fn micros(duration: Duration) -> u64 {
    duration.as_secs() * SECOND
}

/// What the world is like; all but the first are wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    AsItIs,
    /// Whoever has led once goes on when its renewals fail.
    LeaderKeepsLeading,
    /// All processes call themselves the same.
    SameIdentity,
    /// The API server does not look at the version that a replacement names.
    NoPrecondition,
}

#[test]
fn never_do_two_lead_and_in_the_end_one_does() {
    for seed in seeds(SEEDS) {
        if let Err(violation) = World::new(seed, Rule::AsItIs).run() {
            panic!("seed {seed}: {violation}; replay: SIM_SEED={seed} cargo test --test sim -- --nocapture");
        }
    }
}

#[test]
fn a_leader_that_keeps_leading_is_caught() {
    caught(Rule::LeaderKeepsLeading);
}

#[test]
fn processes_of_the_same_identity_are_caught() {
    caught(Rule::SameIdentity);
}

#[test]
fn replacements_without_a_condition_are_caught() {
    caught(Rule::NoPrecondition);
}

#[track_caller]
fn caught(rule: Rule) {
    let found = (0..SEEDS_TO_BE_CAUGHT).find_map(|seed| Some((seed, World::new(seed, rule).run().err()?)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{rule:?} is not caught"));
    assert!(violation.starts_with("two lead"), "{violation}");
    println!("{rule:?} is caught by seed {seed}: {violation}");
}

fn seeds(default: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(default),
    }
}

struct World {
    random: fastrand::Rng,
    rule: Rule,
    is_told: bool,
    /// True time, in microseconds.
    now: u64,
    /// What is to happen to which replica, in order; the second number tells things of the same time apart.
    queue: BTreeMap<(u64, u64), (usize, Happening)>,
    /// Of everything that gets a number: versions, lives, calls.
    count: u64,
    lease: Option<(u64, LeaseSpec)>,
    /// When the Lease was last deleted.
    deleted: Option<u64>,
    replicas: Vec<Replica>,
    /// Until then the API server hangs; then it does what it was sent.
    hangs_until: u64,
    /// From then on nothing bad happens.
    calm_from: u64,
    /// Requests of one process in one second.
    most_sent: u32,
}

/// A machine, with at most one process on it.
struct Replica {
    process: Option<Process>,
    /// Of its monotonic clock, in thousandths.
    clock_rate: u64,
    clock_zero: Instant,
    /// Seconds since 1970 at the beginning.
    wall_clock: i64,
    stopped_until: u64,
    /// Until then its requests may fare badly.
    trouble_until: u64,
}

struct Process {
    elector: LeaderElector,
    /// Tells it from earlier ones of the same replica.
    life: u64,
    /// The number of its latest request, while that is unanswered.
    call: Option<u64>,
    /// How many it has sent in a second, and in which one.
    sent: (u64, u32),
    leads_until: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Happening {
    Start,
    Tick {
        life: u64,
    },
    Answer {
        life: u64,
        call: u64,
        answer: Answer,
    },
    /// A request is carried out; its answer is back after a time, or never.
    Arrival {
        life: u64,
        call: u64,
        request: Request,
        back: Option<u64>,
    },
    Fault(Fault),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The API server does not answer, and later carries out what it was sent.
    Hang {
        lasts: u64,
    },
    /// Requests of one replica are lost, refused, late, or carried out without an answer.
    Trouble {
        lasts: u64,
    },
    /// As by SIGSTOP, or a machine that swaps.
    Stop {
        lasts: u64,
    },
    Kill {
        absent: u64,
    },
    Release {
        absent: u64,
    },
    SetWallClock {
        seconds: i64,
    },
    DeleteLease,
    /// Somebody sets a label.
    TouchLease,
    /// Somebody gives it to another, who never renews it.
    StealLease,
    /// Somebody takes out what can be taken out.
    EmptyLease,
}

impl World {
    fn new(seed: u64, rule: Rule) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        let replicas = (0..random.usize(2..5))
            .map(|_| Replica {
                process: None,
                clock_rate: random.u64(CLOCK_RATES),
                clock_zero: start + Duration::from_micros(random.u64(0..1000 * SECOND)),
                wall_clock: random.i64(0..2_000_000_000),
                stopped_until: 0,
                trouble_until: 0,
            })
            .collect();
        let mut world = World {
            random,
            rule,
            is_told: std::env::var_os("SIM_SEED").is_some(),
            now: 0,
            queue: BTreeMap::new(),
            count: 0,
            lease: None,
            deleted: None,
            replicas,
            hangs_until: 0,
            calm_from: 0,
            most_sent: 0,
        };
        for replica in 0..world.replicas.len() {
            let at = world.random.u64(0..3 * SECOND);
            world.add(at, replica, Happening::Start);
        }
        for _ in 0..world.random.usize(1..12) {
            let (at, fault) = (world.random.u64(0..60 * SECOND), any_fault(&mut world.random));
            let replica = world.random.usize(0..world.replicas.len());
            world.calm_from = world.calm_from.max(at);
            world.add(at, replica, Happening::Fault(fault));
        }
        world
    }

    /// Until it has been calm for long, or something has happened that must not.
    fn run(mut self) -> Result<(), String> {
        let mut settled = None;
        while let Some(((at, _), (replica, happening))) = self.queue.pop_first() {
            self.now = at;
            if at >= self.calm_from + SETTLED_AFTER + CALM {
                return Ok(());
            }
            self.tell(replica, &happening);
            self.happen(replica, happening);
            let leaders = self.leaders();
            let seconds = self.now as f64 / SECOND as f64;
            if let [one, other, ..] = leaders[..] {
                return Err(format!("two lead at {seconds} s: replicas {one} and {other}"));
            }
            if self.most_sent > REQUESTS_PER_SECOND_MAX {
                return Err(format!("replica {replica} floods the API server at {seconds} s"));
            }
            if self.now >= self.calm_from + SETTLED_AFTER {
                let calm_from = self.calm_from as f64 / SECOND as f64;
                let Some(leader) = leaders.first() else {
                    return Err(format!("nobody leads at {seconds} s, calm since {calm_from} s"));
                };
                if settled.get_or_insert(*leader) != leader {
                    return Err(format!("another leads at {seconds} s, calm since {calm_from} s"));
                }
            }
        }
        Err("nothing happens any longer".to_owned())
    }

    /// Who believes at this moment that it leads.
    fn leaders(&self) -> Vec<usize> {
        let leads = |replica: &Replica| {
            let until = replica.process.as_ref()?.leads_until?;
            (replica.monotonic(self.now) < until).then_some(())
        };
        (0..self.replicas.len()).filter(|index| leads(&self.replicas[*index]).is_some()).collect()
    }

    fn happen(&mut self, replica: usize, happening: Happening) {
        let running = self.replicas[replica].process.as_ref().map(|process| process.life);
        match happening {
            Happening::Start => self.start(replica),
            Happening::Tick { life } | Happening::Answer { life, .. } if running != Some(life) => {}
            // It is there when the process goes on.
            Happening::Tick { .. } | Happening::Answer { .. }
                if self.replicas[replica].stopped_until > self.now =>
            {
                self.add(self.replicas[replica].stopped_until, replica, happening);
            }
            Happening::Tick { .. } => self.pass(replica, Event::Tick),
            Happening::Answer { call, answer, .. } => {
                let process = self.replicas[replica].process.as_mut().expect("it runs");
                // To an earlier request, or after its time was over.
                if process.call == Some(call) {
                    process.call = None;
                    self.pass(replica, Event::Answer(answer));
                }
            }
            Happening::Arrival { life, call, request, back } => {
                let answer = self.carry_out(request);
                if let Some(back) = back {
                    self.add(self.now + back, replica, Happening::Answer { life, call, answer });
                }
            }
            Happening::Fault(fault) => self.strike(replica, fault),
        }
    }

    /// As a process begins: it makes the Lease where there is none.
    fn start(&mut self, replica: usize) {
        if self.replicas[replica].process.is_some() {
            return;
        }
        // Nobody can tell a Lease that was deleted from one that never was: see `Cluster::elect_leader`.
        let deleted = self.deleted.filter(|deleted| self.lease.is_none() && self.now < deleted + 12 * SECOND);
        if deleted.is_some() {
            return self.start_after(SECOND, replica);
        }
        if self.lease.is_none() {
            self.store(LeaseSpec::default());
        }
        let life = self.number();
        let identity = match self.rule {
            Rule::SameIdentity => "same".to_owned(),
            _ => format!("replica-{replica}_{life}"),
        };
        let now = self.replicas[replica].monotonic(self.now);
        let elector = LeaderElector::new(identity, now);
        self.replicas[replica].process =
            Some(Process { elector, life, call: None, sent: (0, 0), leads_until: None });
        self.add(self.now, replica, Happening::Tick { life });
    }

    fn start_after(&mut self, micros: u64, replica: usize) {
        let at = self.now + micros;
        self.calm_from = self.calm_from.max(at);
        self.add(at, replica, Happening::Start);
    }

    /// What the driver does: passes an event on, and carries out what follows.
    fn pass(&mut self, replica: usize, event: Event) {
        let (rule, machine) = (self.rule, &mut self.replicas[replica]);
        let now = machine.both_clocks(self.now);
        let Some(process) = &mut machine.process else { return };
        let mut request = None;
        for effect in process.elector.on(event, now) {
            match effect {
                Effect::Call(sent) => request = Some(sent),
                Effect::LeadsUntil(_) if rule == Rule::LeaderKeepsLeading => {
                    process.leads_until = Some(now.instant + Duration::from_secs(3600));
                }
                Effect::LeadsUntil(until) => process.leads_until = Some(until),
                Effect::Lost if rule == Rule::LeaderKeepsLeading => {}
                Effect::Lost => process.leads_until = None,
                Effect::Ended => {
                    machine.process = None;
                    return;
                }
            }
        }
        let (life, timer) = (process.life, process.elector.next_timer());
        if let Some(timer) = timer {
            let at = machine.true_time(timer).max(self.now);
            self.add(at, replica, Happening::Tick { life });
        }
        if let Some(request) = request {
            self.send(replica, life, request);
        }
    }

    /// Sends a request on its way, and decides what becomes of it.
    fn send(&mut self, replica: usize, life: u64, request: Request) {
        let call = self.number();
        let machine = &mut self.replicas[replica];
        let process = machine.process.as_mut().expect("it runs");
        process.call = Some(call);
        let second = self.now / SECOND;
        process.sent = (second, if process.sent.0 == second { process.sent.1 + 1 } else { 1 });
        self.most_sent = self.most_sent.max(process.sent.1);
        let limit = micros(CALL_TIMEOUT) * 1000 / machine.clock_rate;
        self.add(self.now + limit, replica, Happening::Answer { life, call, answer: Answer::Failed });

        let random = &mut self.random;
        let mut there = random.u64(500..50_000);
        let mut back = Some(random.u64(500..50_000));
        if self.now < self.replicas[replica].trouble_until {
            match random.u8(0..100) {
                0..20 => return,
                20..45 => {
                    let refused = Happening::Answer { life, call, answer: Answer::Failed };
                    return self.add(self.now + there, replica, refused);
                }
                45..65 => back = None,
                65..80 => there = random.u64(SECOND..20 * SECOND),
                80..90 => back = Some(random.u64(0..2 * SECOND)),
                _ => {}
            }
        }
        let at = (self.now + there).max(self.hangs_until);
        if there >= SECOND {
            self.calm_from = self.calm_from.max(at);
        }
        self.add(at, replica, Happening::Arrival { life, call, request, back });
    }

    fn carry_out(&mut self, request: Request) -> Answer {
        match request {
            Request::Get => self.found(),
            Request::Create(_) if self.lease.is_some() => Answer::Conflict,
            Request::Create(spec) => self.store(spec),
            Request::Replace { version, spec } => match &self.lease {
                None => Answer::Missing,
                Some((stored, _)) if *stored == version.parse::<u64>().unwrap() => self.store(spec),
                Some(_) if self.rule == Rule::NoPrecondition => self.store(spec),
                Some(_) => Answer::Conflict,
            },
        }
    }

    fn found(&self) -> Answer {
        let Some((version, spec)) = &self.lease else { return Answer::Missing };
        let metadata = ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() };
        Answer::Lease(Box::new(Lease { metadata, spec: Some(spec.clone()) }))
    }

    fn store(&mut self, spec: LeaseSpec) -> Answer {
        self.lease = Some((self.number(), spec));
        self.found()
    }

    fn strike(&mut self, replica: usize, fault: Fault) {
        let machine = &mut self.replicas[replica];
        match fault {
            Fault::Hang { lasts } => self.hangs_until = self.now + lasts,
            Fault::Trouble { lasts } => machine.trouble_until = self.now + lasts,
            Fault::Stop { lasts } => machine.stopped_until = self.now + lasts,
            Fault::Kill { absent } => {
                machine.process = None;
                machine.stopped_until = 0;
                self.start_after(absent, replica);
            }
            Fault::Release { absent } => {
                if machine.stopped_until <= self.now {
                    self.pass(replica, Event::Release);
                    // It ends by itself, or is killed: the driver does not wait for long.
                    let kill = Happening::Fault(Fault::Kill { absent });
                    self.add(self.now + 2 * SECOND, replica, kill);
                    self.calm_from = self.calm_from.max(self.now + 2 * SECOND);
                }
            }
            Fault::SetWallClock { seconds } => machine.wall_clock += seconds,
            Fault::DeleteLease => {
                if self.lease.take().is_some() {
                    self.deleted = Some(self.now);
                }
            }
            Fault::TouchLease => self.edit(|_| {}),
            Fault::StealLease => self.edit(|spec| {
                spec.holder_identity = Some("thief".to_owned());
                spec.lease_duration_seconds = Some(15);
            }),
            Fault::EmptyLease => self.edit(|spec| {
                spec.lease_duration_seconds = None;
                spec.acquire_time = None;
                spec.renew_time = None;
                spec.lease_transitions = None;
            }),
        }
        let machine = &self.replicas[replica];
        let last = machine.trouble_until.max(machine.stopped_until).max(self.hangs_until);
        self.calm_from = self.calm_from.max(last);
    }

    fn edit(&mut self, edit: impl FnOnce(&mut LeaseSpec)) {
        if let Some((_, mut spec)) = self.lease.take() {
            edit(&mut spec);
            self.store(spec);
        }
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn add(&mut self, at: u64, replica: usize, happening: Happening) {
        let number = self.number();
        self.queue.insert((at, number), (replica, happening));
    }

    fn tell(&self, replica: usize, happening: &Happening) {
        if self.is_told {
            let holder = self.lease.as_ref().map(|(version, spec)| (version, &spec.holder_identity));
            println!(
                "{:>11.6} replica {replica} {happening:?}; lease {holder:?}, leads {:?}",
                self.now as f64 / SECOND as f64,
                self.leaders()
            );
        }
    }
}

impl Replica {
    fn monotonic(&self, now: u64) -> Instant {
        self.clock_zero + Duration::from_micros(now * self.clock_rate / 1000)
    }

    /// When its monotonic clock shows this, or a moment later.
    fn true_time(&self, monotonic: Instant) -> u64 {
        let passed = monotonic.saturating_duration_since(self.clock_zero).as_micros();
        u64::try_from(passed).unwrap() * 1000 / self.clock_rate + 2
    }

    fn both_clocks(&self, now: u64) -> Now {
        let wall_clock = self.wall_clock + i64::try_from(now / SECOND).unwrap();
        Now {
            instant: self.monotonic(now),
            time: jiff::Timestamp::from_second(wall_clock).expect("it is within some centuries"),
        }
    }
}

fn any_fault(random: &mut fastrand::Rng) -> Fault {
    let lasts = random.u64(SECOND..25 * SECOND);
    let absent = random.u64(0..10 * SECOND);
    match random.u8(0..100) {
        0..12 => Fault::Hang { lasts },
        12..37 => Fault::Trouble { lasts },
        37..55 => Fault::Stop { lasts },
        55..65 => Fault::Kill { absent },
        65..75 => Fault::Release { absent },
        75..83 => Fault::SetWallClock { seconds: random.i64(-100_000..100_000) },
        83..88 => Fault::DeleteLease,
        88..92 => Fault::TouchLease,
        92..96 => Fault::StealLease,
        _ => Fault::EmptyLease,
    }
}
