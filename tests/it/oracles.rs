//! What we read ourselves (image references, schedules, selectors) means what it means to those who
//! read it in a cluster: to distribution/reference, to robfig/cron and to the API server.
//!
//! The vectors of the first two are made by `tests/cluster/oracles`, whose programs say how.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use jiff::Timestamp;
use quayctl_controller::config::schedule::{Schedule, time_zone};
use quayctl_controller::config::{ImageRef, NodeSelector};
use serde_json::Value;

use crate::support::bed::{self, Bed};
use crate::support::root;

fn vectors(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Fails with the first of all disagreements.
#[track_caller]
fn agree(compared: usize, disagreements: Vec<String>) {
    let first: Vec<&String> = disagreements.iter().take(20).collect();
    assert!(first.is_empty(), "{} of {compared} disagree: {first:#?}", disagreements.len());
}

#[test]
fn references_are_read_as_containerd_reads_them() {
    let vectors = vectors("references.json");
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() >= 300, "{}", vectors.len());
    let mut disagreements = Vec::new();
    for vector in vectors {
        let of = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
        let mut wanted =
            (vector["valid"] == true).then(|| ["domain", "path", "tag", "digest", "normalised"].map(of));
        // A host with an underscore is part of the path to distribution/reference, and a host to
        // containerd's client.
        if let Some([domain, path, ..]) = &mut wanted
            && domain.is_empty()
        {
            let (host, rest) = path.split_once('/').unwrap();
            (*domain, *path) = (host.to_owned(), rest.to_owned());
        }
        let found = ImageRef::parse(&of("written")).map(|image| {
            let full = image.normalised();
            [image.registry, image.repository, image.tag, image.digest, full]
        });
        if found.as_ref().ok() != wanted.as_ref() {
            disagreements.push(format!("{}: {found:?}, wanted {wanted:?}", vector["written"]));
        }
    }
    agree(vectors.len(), disagreements);
}

#[test]
fn schedules_are_due_when_a_cronjob_is() {
    let vectors = vectors("schedules.json");
    let invalid = vectors["invalid"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut disagreements: Vec<String> = invalid
        .iter()
        .filter(|written| Schedule::parse(&text(written)).is_ok())
        .map(|written| format!("{written} is refused by a CronJob"))
        .collect();
    let mut compared = 0;
    for start in vectors["starting"].as_array().unwrap() {
        let zone = time_zone(&text(&start["zone"])).unwrap();
        for due in start["due"].as_array().unwrap() {
            let (written, fires) = due.as_array().unwrap().split_first().unwrap();
            let mut at: Timestamp = text(&start["after"]).parse().unwrap();
            let found = Schedule::parse(&text(written)).map(|schedule| {
                std::iter::from_fn(|| {
                    at = schedule.next_after(at, &zone)?;
                    Some(at.to_string())
                })
                .take(5)
                .collect::<Vec<_>>()
            });
            let wanted: Vec<String> = fires.iter().map(text).collect();
            if found.as_ref() != Ok(&wanted) {
                let (zone, after) = (&start["zone"], &start["after"]);
                disagreements
                    .push(format!("{written} in {zone} after {after}: {found:?}, wanted {wanted:?}"));
            }
            compared += 1;
        }
    }
    assert!(compared >= 5000, "{compared}");
    agree(compared + invalid.len(), disagreements);
}

#[test]
fn selectors_select_what_the_api_server_selects() {
    let bed = bed::shared();
    let nodes: BTreeMap<String, BTreeMap<String, String>> = bed.get(&["get", "nodes"])["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let labels = serde_json::from_value(node["metadata"]["labels"].clone()).unwrap();
            (node["metadata"]["name"].as_str().unwrap().to_owned(), labels)
        })
        .collect();
    let proxy = Proxy::start(bed);
    let selectors = selectors(&nodes);
    let (mut disagreements, mut refused, mut some) = (Vec::new(), 0, 0);
    for selector in &selectors {
        let wanted = proxy.nodes(selector);
        let parsed = NodeSelector::parse(selector);
        let select = |parsed: &NodeSelector| -> BTreeSet<String> {
            nodes.iter().filter(|(_, labels)| parsed.matches(labels)).map(|(name, _)| name.clone()).collect()
        };
        match &wanted {
            Some(names) => some += usize::from(!names.is_empty() && names.len() < nodes.len()),
            None => refused += 1,
        }
        let found = parsed.as_ref().ok().map(select);
        if found != wanted {
            disagreements.push(format!("{selector:?}: {parsed:?} selects {found:?}, wanted {wanted:?}"));
        }
        // What we print is what we hand to the API server when we list.
        if let Ok(parsed) = &parsed
            && found != NodeSelector::parse(&parsed.as_query()).ok().as_ref().map(select)
        {
            disagreements.push(format!("{selector:?} printed is {:?}", parsed.as_query()));
        }
    }
    agree(selectors.len(), disagreements);
    // Not all of one kind, or the comparison says little.
    let kinds = [selectors.len(), refused, some, selectors.len() - refused - some];
    assert!(kinds.iter().zip([1200, 300, 150, 300]).all(|(found, least)| *found >= least), "{kinds:?}");
}

/// Corner cases, then random ones, the same in every run: of keys and values that nodes have and of
/// others, half of them damaged. No NUL: we refuse it, and the API server stops reading there.
fn selectors(nodes: &BTreeMap<String, BTreeMap<String, String>>) -> BTreeSet<String> {
    let mut selectors: BTreeSet<String> = serde_json::from_value(vectors("selectors.json")).unwrap();
    for (length, part) in [(63, "x"), (64, "x"), (63, "9"), (64, "9"), (18, "9"), (19, "9")] {
        let long = part.repeat(length);
        let forms = [
            format!("zone={long}"),
            long.clone(),
            format!("a.b/{long}"),
            format!("zone>{long}"),
            format!("zone in (fra,{long})"),
        ];
        selectors.extend(forms);
    }
    for length in [63, 253, 254] {
        selectors.insert(format!("{}/a", "p".repeat(length)));
        selectors.insert(format!("!{}/a", "p.".repeat(length / 2) + "p"));
    }
    // The first ten nodes have all labels but for their hosts' names.
    let labels: BTreeSet<(&String, &String)> = nodes.values().take(10).flatten().collect();
    let (common, rare): (Vec<_>, Vec<_>) = labels
        .into_iter()
        .partition(|&(key, value)| nodes.values().all(|labels| labels.get(key) == Some(value)));
    // Those that tell nodes apart say most.
    let labels = [common, rare.repeat(6)].concat();
    let mut dice = Dice(2026);
    while selectors.len() < 1200 {
        let mut selector = String::new();
        for i in 0..dice.one_of(&[1, 1, 2, 3]) {
            if i > 0 {
                selector.push_str(dice.one_of(&[",", " , ", ", "]));
            }
            selector.push_str(&requirement(&mut dice, &labels));
        }
        if dice.below(2) == 0 {
            damage(&mut dice, &mut selector);
        }
        selectors.insert(selector);
    }
    selectors
}

fn requirement(dice: &mut Dice, labels: &[(&String, &String)]) -> String {
    let (key, known) = dice.one_of(labels);
    let known = known.as_str();
    let odd = dice.one_of(&["absent", "in", "a.b/c"]);
    let key = dice.one_of(&[key.as_str(), key, key, key, key, key, key, odd]);
    let value = |dice: &mut Dice| {
        let other = dice.one_of(labels).1.as_str();
        let odd = dice.one_of(&["in", "7", "A_b-c.d"]);
        dice.one_of(&[known, known, known, known, other, other, "", odd])
    };
    let (one, two) = (value(dice), value(dice));
    let blank = dice.one_of(&["", "", " ", "\t"]);
    match dice.below(12) {
        0 => key.to_owned(),
        1 => format!("!{blank}{key}"),
        2 | 3 => format!("{key}{blank}={blank}{one}"),
        4 => format!("{key}=={one}"),
        5 => format!("{key}{blank}!={one}"),
        6 => format!("{key} in ({one},{two})"),
        7 => format!("{key} in{blank}({blank}{one}{blank})"),
        8 => format!("{key} notin ({one}{blank},{two})"),
        9 => format!("{key} notin ({one},,{two},)"),
        10 => format!("{key}>{}", dice.below(40)),
        _ => format!("{key}{blank}<{blank}{}", dice.below(40)),
    }
}

/// Leaves out, doubles or puts in a character.
fn damage(dice: &mut Dice, selector: &mut String) {
    let places: Vec<usize> = selector.char_indices().map(|(at, _)| at).collect();
    let at = dice.one_of(&places);
    let odd = [
        " ", ",", "(", ")", "=", "!", "<", ">", "-", "_", ".", "/", "é", "\n", "'", "*", "%", "&", "+", "in",
    ];
    match dice.below(3) {
        0 => drop(selector.remove(at)),
        1 => selector.insert(at, selector[at..].chars().next().unwrap()),
        _ => selector.insert_str(at, dice.one_of(&odd)),
    }
}

/// A generator of numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX; its low bits repeat soon.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The API server without TLS, because kubectl itself takes a tenth of a second for each selector.
/// Ends when dropped.
struct Proxy {
    kubectl: Child,
    address: String,
}

impl Proxy {
    fn start(bed: &Bed) -> Proxy {
        let kubectl = bed.kubectl(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut proxy = Proxy { kubectl, address: String::new() };
        let mut line = String::new();
        BufReader::new(proxy.kubectl.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Starting to serve on ");
        proxy.address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        proxy
    }

    /// The names of the nodes it selects; `None` when it is refused.
    fn nodes(&self, selector: &str) -> Option<BTreeSet<String>> {
        let query: String = selector.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        write!(
            stream,
            "GET /api/v1/nodes?includeObject=None&labelSelector={query} HTTP/1.0\r\nHost: localhost\r\n\
             Accept: application/json;as=Table;g=meta.k8s.io;v=v1\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        if status == "400" {
            return None;
        }
        assert_eq!(status, "200", "{selector:?}: {answer}");
        let table: Value = serde_json::from_str(body).unwrap();
        let rows = table["rows"].as_array().unwrap();
        Some(rows.iter().map(|row| row["cells"][0].as_str().unwrap().to_owned()).collect())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
