//! What is to be tried: a small cluster, a plan over it, and what goes wrong when. Made of a seed, or by hand.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::world::Millis;

/// How the registry answers for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Pulled in so many milliseconds.
    Present(Millis),
    NotFound,
    /// Two of three pulls fail.
    Flaky,
    /// A pull never ends.
    Stuck,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub images: Vec<String>,
    pub concurrency: Option<usize>,
    pub deadline_seconds: u32,
    pub always: bool,
}

/// Something that befalls the cluster or a process, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// All watches of a process end; they list again after so long.
    WatchBreaks(Millis),
    /// The API server answers nobody for so long.
    ApiIsDown(Millis),
    /// Of the live Jobs of ours, the nth modulo their number.
    JobDeleted(usize),
    JobSuspended(usize, Millis),
    PodKilled(usize),
    /// The nth node is not ready for so long.
    NodeDown(usize, Millis),
    /// It is replaced by another of its name.
    NodeReplaced(usize),
    /// Somebody takes a label of ours from a live Job.
    LabelTaken(usize),
    /// A live Job of another run is on the nth node; whether it does the same.
    ForeignJob(usize, bool),
    /// Everything is answered by 403 for so long, as by an API server that has not read its roles yet.
    AccessRefused(Millis),
    /// Our process is killed, and started anew after so long; with the same run id, or another.
    ProcessKilled(Millis, bool),
    /// It is killed, and nobody starts it again.
    ProcessLost,
    /// Another run of the instance begins.
    SecondRun,
    Signal,
    /// The wall clock is set by so many seconds.
    ClockJumps(i64),
}

/// How often a request fares badly, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// Committed, and its answer is lost: it is sent again.
    pub answer_lost: u16,
    /// Nobody answers for as long as a call is tried, and it was not committed.
    pub unanswered: u16,
    /// Nobody answers, and it was.
    pub unanswered_committed: u16,
    /// Admission refuses the object.
    pub refused: u16,
    /// 429 on the way.
    pub throttled: u16,
    /// A patch or a read is refused.
    pub others_fail: u16,
    /// A watch event is delivered twice.
    pub repeated: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub nodes: usize,
    pub groups: Vec<Group>,
    pub concurrency: usize,
    pub run_deadline: Millis,
    pub registry: BTreeMap<String, Image>,
    /// The longest that a controller, a kubelet, a call and a watch take.
    pub lag: Millis,
    pub api_lag: Millis,
    pub watch_lag: Millis,
    /// Jobs that the namespace has room for.
    pub quota: Option<usize>,
    pub chances: Chances,
    pub script: Vec<(Millis, Happening)>,
    /// Jobs there at the start: node, whether they do the same as the first group.
    pub foreign_at_start: Vec<(usize, bool)>,
    pub replace: bool,
    /// How long a Job that is over is kept.
    pub keep_seconds: u32,
}

impl Scenario {
    /// All that goes well: what others are made of.
    pub fn calm(nodes: usize) -> Scenario {
        let image = "quay.io/team/app-0:1.0".to_owned();
        let group =
            Group { images: vec![image.clone()], concurrency: None, deadline_seconds: 300, always: false };
        Scenario {
            nodes,
            groups: vec![group],
            concurrency: 20,
            run_deadline: 3_600_000,
            registry: [(image, Image::Present(3_000))].into(),
            lag: 500,
            api_lag: 100,
            watch_lag: 200,
            quota: None,
            chances: Chances::default(),
            script: Vec::new(),
            foreign_at_start: Vec::new(),
            replace: false,
            keep_seconds: 86_400,
        }
    }

    pub fn of_seed(seed: u64) -> Scenario {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let rng = &mut rng;
        let mut scenario = Scenario::calm(rng.usize(1..=6));
        let images = rng.usize(1..=4);
        scenario.registry = (0..images)
            .map(|n| {
                let image = match rng.u8(0..10) {
                    0 => Image::NotFound,
                    1 => Image::Flaky,
                    2 => Image::Stuck,
                    _ => Image::Present(rng.u64(100..=60_000)),
                };
                (format!("quay.io/team/app-{n}:1.0"), image)
            })
            .collect();
        scenario.groups = (0..rng.usize(1..=3))
            .map(|_| {
                let mut names: Vec<String> = scenario.registry.keys().cloned().collect();
                rng.shuffle(&mut names);
                names.truncate(rng.usize(1..=2));
                Group {
                    images: names,
                    concurrency: rng.bool().then(|| rng.usize(1..=3)),
                    deadline_seconds: rng.u32(30..=300),
                    always: rng.u8(0..5) == 0,
                }
            })
            .collect();
        scenario.concurrency = rng.usize(1..=6);
        scenario.run_deadline = rng.u64(60..=3_600) * 1000;
        scenario.lag = rng.u64(10..=3_000);
        scenario.api_lag = rng.u64(1..=2_000);
        scenario.watch_lag = rng.u64(1..=5_000);
        scenario.replace = rng.u8(0..8) == 0;
        if rng.u8(0..6) == 0 {
            scenario.quota = Some(rng.usize(1..=4));
        }
        if rng.u8(0..4) == 0 {
            // Longer than a call is tried: a create whose answer was lost would find neither its Job nor its end, and
            // make it once more.
            scenario.keep_seconds = rng.u32(95..=300);
        }
        // A third of the seeds has nothing but what the registry does.
        if rng.u8(0..3) == 0 {
            return scenario;
        }
        let chance = |rng: &mut Rng| if rng.u8(0..3) == 0 { rng.u16(1..=200) } else { 0 };
        scenario.chances = Chances {
            answer_lost: chance(rng),
            unanswered: chance(rng) / 4,
            unanswered_committed: chance(rng) / 4,
            refused: chance(rng) / 4,
            throttled: chance(rng),
            others_fail: chance(rng),
            repeated: chance(rng),
        };
        for _ in 0..rng.usize(0..=5) {
            let at = rng.u64(0..=scenario.run_deadline.min(400_000));
            scenario.script.push((at, happening(rng, scenario.nodes)));
        }
        scenario.script.sort_by_key(|(at, _)| *at);
        if rng.u8(0..4) == 0 {
            scenario.foreign_at_start.push((rng.usize(0..scenario.nodes), rng.bool()));
        }
        scenario
    }

    /// Simpler ones, the simplest first, of which one may fail as well.
    pub fn simpler(&self) -> Vec<Scenario> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut Scenario)| {
            let mut simpler = self.clone();
            change(&mut simpler);
            if simpler != *self {
                all.push(simpler);
            }
        };
        if self.chances != Chances::default() {
            push(&|s| s.chances = Chances::default());
            push(&|s| s.chances.answer_lost = 0);
            push(&|s| s.chances.unanswered = 0);
            push(&|s| s.chances.unanswered_committed = 0);
            push(&|s| s.chances.refused = 0);
            push(&|s| s.chances.throttled = 0);
            push(&|s| s.chances.others_fail = 0);
            push(&|s| s.chances.repeated = 0);
        }
        for place in 0..self.script.len() {
            push(&|s| s.script = [&s.script[..place], &s.script[place + 1..]].concat());
        }
        for place in 0..self.foreign_at_start.len() {
            push(&|s| s.foreign_at_start.retain(|job| *job != self.foreign_at_start[place]));
        }
        if self.groups.len() > 1 {
            for place in 0..self.groups.len() {
                push(&|s| drop(s.groups.remove(place)));
            }
        }
        if self.nodes > 1 {
            push(&|s| {
                s.nodes -= 1;
                s.foreign_at_start.retain(|(node, _)| *node < s.nodes);
            });
        }
        push(&|s| s.quota = None);
        push(&|s| s.keep_seconds = 86_400);
        all
    }
}

fn happening(rng: &mut Rng, nodes: usize) -> Happening {
    let node = rng.usize(0..nodes);
    let any = rng.usize(0..100);
    let while_ = rng.u64(1..=150_000);
    match rng.u8(0..16) {
        0 | 1 => Happening::WatchBreaks(while_),
        2 => Happening::ApiIsDown(while_),
        3 => Happening::JobDeleted(any),
        4 => Happening::JobSuspended(any, while_),
        5 => Happening::PodKilled(any),
        6 => Happening::NodeDown(node, while_ * 3),
        7 => Happening::NodeReplaced(node),
        8 => Happening::ForeignJob(node, rng.bool()),
        9 | 10 => Happening::ProcessKilled(while_ / 10, rng.bool()),
        11 => Happening::SecondRun,
        12 => Happening::Signal,
        13 => Happening::LabelTaken(any),
        14 => Happening::AccessRefused(while_),
        _ => Happening::ClockJumps(rng.i64(-100_000..=100_000)),
    }
}
