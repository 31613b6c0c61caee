//! A bed of real nodes leaves nothing on the machine, however it ends.

use std::path::Path;

use crate::support::bed::Bed;

/// What of a site can be seen from outside.
fn traces(site: &str) -> Vec<String> {
    let mut found = vec![];
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("a mounted cgroup file system").flatten() {
        for entry in std::fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.starts_with(&format!("{site}-")) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    let link = format!("/sys/class/net/{site}");
    found.extend(Path::new(&link).exists().then_some(link));
    found
}

#[test]
fn a_bed_that_is_killed_leaves_no_cgroup_interface_or_process() {
    let bed = Bed::start(&["--nodes", "0", "--real-nodes", "1"]);
    // The first address of a site is the host's: 198.18.N.1.
    let server = bed.ready["server"].as_str().expect("a bed has a server");
    let number = server.trim_start_matches("https://").split('.').nth(2).expect("an IPv4 address");
    let site = format!("quaybed{number}");
    assert!(traces(&site).len() > 1, "while it is there: {:?}", traces(&site));
    let record =
        std::fs::read_to_string(bed.kubeconfig().with_file_name("state/bed.json")).expect("its record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("it is JSON");

    bed.signal("bed", "KILL");
    let begun = std::time::Instant::now();
    while !traces(&site).is_empty() {
        assert!(begun.elapsed() < crate::support::LIMIT, "left behind: {:?}", traces(&site));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let dir = bed.ready["dir"].as_str().expect("a bed has a folder");
    let mounts = std::fs::read_to_string("/proc/mounts").expect("a list of mounts");
    assert!(!mounts.contains(dir), "{mounts}");
    for component in record["components"].as_array().expect("components") {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", component["pid"])).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains(dir), "{component} is still there");
    }
    let mut down = std::process::Command::new(crate::support::bed::program("bed"));
    crate::support::ended(down.args(["down", "--dir", dir])).expect_code(0);
    assert!(!Path::new(dir).exists(), "{dir} is still there");
}
