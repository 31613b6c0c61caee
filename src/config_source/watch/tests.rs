//! Folders are real, and changed as the kubelet and people change them.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::config_source::load::load;
use crate::config_source::snapshot::tests::swap;

const BAD: &str = "namespace = \n";

/// A config and a template that carry the same number.
fn versions(version: usize) -> (String, String) {
    let config = format!(
        "namespace = \"v{version}\"\n\
         [[groups]]\n\
         name = \"g\"\n\
         images = [\"nginx:1.29\"]\n\
         template = \"mine\"\n\
         [templates.mine]\n\
         file = \"mine.yaml.hbs\"\n"
    );
    (config, format!("v{version}"))
}

fn swap_to(mount: &Path, version: usize) {
    let (config, template) = versions(version);
    swap(mount, &[("quayctl.toml", &config), ("mine.yaml.hbs", &template)]);
}

fn write(folder: &Path, version: usize) {
    let (config, template) = versions(version);
    fs::write(folder.join("mine.yaml.hbs"), template).unwrap();
    fs::write(folder.join("quayctl.toml"), config).unwrap();
}

/// The version of the config, which is the template's.
#[track_caller]
fn version(loaded: &LoadedConfig) -> String {
    let namespace = loaded.config.namespace.clone().unwrap();
    assert_eq!(loaded.config.templates.user["mine"].text, namespace, "a mix of two versions");
    namespace
}

fn sources(config: &Path) -> Sources {
    Sources { path: Some(config.to_owned()), ..Sources::default() }
}

fn watching(folder: &Path) -> ConfigWatch {
    let sources = sources(&folder.join("quayctl.toml"));
    let loaded = load(&sources).unwrap();
    ConfigWatch::new(sources, &loaded)
}

fn mount(version: usize) -> (TempDir, ConfigWatch) {
    let mount = tempfile::tempdir().unwrap();
    swap_to(mount.path(), version);
    let watch = watching(mount.path());
    (mount, watch)
}

/// The next state, long before the poll would find it.
async fn next(watch: &mut ConfigWatch) -> Result<LoadedConfig, LoadError> {
    timeout(Duration::from_secs(15), watch.changed()).await.expect("a change is events")
}

#[tokio::test]
async fn a_mount_goes_from_good_to_bad_to_good() {
    let (mount, mut watch) = mount(1);
    assert!(watch.check_files().is_none(), "what was loaded is known");

    swap_to(mount.path(), 2);
    assert_eq!(version(&next(&mut watch).await.unwrap()), "v2");

    swap(mount.path(), &[("quayctl.toml", BAD), ("mine.yaml.hbs", "v2")]);
    assert!(matches!(next(&mut watch).await, Err(LoadError::Invalid { .. })));
    // The same in a new folder is the same state.
    swap(mount.path(), &[("quayctl.toml", BAD), ("mine.yaml.hbs", "v2")]);
    assert!(watch.check_files().is_none(), "a bad state is told once");
    swap(mount.path(), &[("quayctl.toml", "zzzz = 1"), ("mine.yaml.hbs", "v2")]);
    assert!(matches!(next(&mut watch).await, Err(LoadError::Invalid { .. })));

    swap_to(mount.path(), 2);
    assert_eq!(version(&next(&mut watch).await.unwrap()), "v2");
}

#[tokio::test]
async fn twenty_swaps_in_two_seconds_end_with_the_last() {
    let (mount, mut watch) = mount(0);
    let path = mount.path().to_owned();
    let swaps = std::thread::spawn(move || {
        for version in 1..=20 {
            std::thread::sleep(Duration::from_millis(100));
            swap_to(&path, version);
        }
    });
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "v20") {
        seen.push(version(&next(&mut watch).await.expect("no version is a bad one")));
    }
    swaps.join().unwrap();
    assert!(watch.check_files().is_none());
    // Swaps that follow each other closely are one.
    assert!(seen.len() < 20, "{seen:?}");
}

#[test]
fn no_load_mixes_two_versions_however_fast_they_come() {
    let (mount, _) = mount(0);
    let path = mount.path().to_owned();
    let swaps = std::thread::spawn(move || (1..=400).for_each(|version| swap_to(&path, version)));
    let mut good = 0;
    while !swaps.is_finished() {
        // A version may be gone each time that it is tried; a half of it must not be taken for a whole.
        if let Ok(loaded) = load(&sources(&mount.path().join("quayctl.toml"))) {
            version(&loaded);
            good += 1;
        }
    }
    swaps.join().unwrap();
    assert!(good > 0);
    assert_eq!(version(&load(&sources(&mount.path().join("quayctl.toml"))).unwrap()), "v400");
}

#[tokio::test]
async fn a_file_that_is_removed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1);
    let mut watch = watching(folder.path());
    fs::remove_file(folder.path().join("quayctl.toml")).unwrap();
    assert!(matches!(next(&mut watch).await, Err(LoadError::Unreadable { .. })));
    assert!(watch.check_files().is_none(), "that it is missing is told once");
    write(folder.path(), 1);
    assert_eq!(version(&next(&mut watch).await.unwrap()), "v1");
}

#[tokio::test]
async fn a_folder_that_is_removed_is_watched_again_when_it_comes_back() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("a/b");
    fs::create_dir_all(&folder).unwrap();
    write(&folder, 1);
    let mut watch = watching(&folder);
    for version_now in [2, 3] {
        fs::remove_dir_all(above.path().join("a")).unwrap();
        assert!(matches!(next(&mut watch).await, Err(LoadError::Unreadable { .. })));
        fs::create_dir_all(&folder).unwrap();
        write(&folder, version_now);
        assert_eq!(version(&next(&mut watch).await.unwrap()), format!("v{version_now}"));
    }
}

#[tokio::test]
async fn a_link_on_the_way_is_followed_to_where_it_leads_now() {
    // As git-sync lays its checkouts out.
    let root = tempfile::tempdir().unwrap();
    for version in [1, 2] {
        let folder = root.path().join(format!("checkout-{version}/config"));
        fs::create_dir_all(&folder).unwrap();
        write(&folder, version);
    }
    symlink("checkout-1", root.path().join("current")).unwrap();
    let mut watch = watching(&root.path().join("current/config"));
    assert!(watch.check_files().is_none());
    symlink("checkout-2", root.path().join("next")).unwrap();
    fs::rename(root.path().join("next"), root.path().join("current")).unwrap();
    assert_eq!(version(&next(&mut watch).await.unwrap()), "v2");
}

#[tokio::test]
async fn templates_and_partials_are_part_of_the_state() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1);
    let mut watch = watching(folder.path());
    let template = |loaded: LoadedConfig| loaded.config.templates.user["mine"].text.clone();
    fs::write(folder.path().join("mine.yaml.hbs"), "{{> part}}").unwrap();
    assert_eq!(template(next(&mut watch).await.unwrap()), "{{> part}}");
    for text in ["a", "b"] {
        fs::write(folder.path().join("part.hbs"), text).unwrap();
        let loaded = next(&mut watch).await.unwrap();
        assert_eq!(loaded.config.templates.partials["part"].text, text);
    }
    // What nobody reads is none of the config's files, and the same bytes are the same state.
    fs::write(folder.path().join("other.hbs"), "a").unwrap();
    fs::write(folder.path().join("part.hbs"), "b").unwrap();
    assert!(watch.check_files().is_none());
    fs::remove_file(folder.path().join("mine.yaml.hbs")).unwrap();
    assert!(matches!(next(&mut watch).await, Err(LoadError::Invalid { .. })));
}

#[tokio::test]
async fn who_asks_is_told_of_what_no_notice_tells() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    let (config, template) = versions(1);
    fs::write(folder.path().join("below/mine.yaml.hbs"), &template).unwrap();
    fs::write(folder.path().join("quayctl.toml"), config.replace("mine.yaml", "below/mine.yaml")).unwrap();
    let mut watch = watching(folder.path());
    assert!(watch.check_files().is_none());
    fs::write(folder.path().join("below/mine.yaml.hbs"), "v2").unwrap();
    watch.trigger().notify_one();
    let loaded = next(&mut watch).await.unwrap();
    assert_eq!(loaded.config.templates.user["mine"].text, "v2");
}

#[test]
fn a_pipe_is_read_once() {
    let (mount, mut watch) = mount(1);
    let pipe = mount.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    watch.sources = sources(&pipe);
    assert!(watch.check_files().is_none(), "a pipe without a writer would never end");
}

#[test]
fn reading_is_no_change() {
    use notify::event::{CreateKind, MetadataKind, ModifyKind, RemoveKind, RenameMode};
    let tells = |kind| is_change(&Ok(Event::new(kind)));
    for kind in [
        EventKind::Access(AccessKind::Open(AccessMode::Any)),
        EventKind::Access(AccessKind::Close(AccessMode::Read)),
        EventKind::Access(AccessKind::Read),
    ] {
        assert!(!tells(kind), "{kind:?}");
    }
    for kind in [
        EventKind::Access(AccessKind::Close(AccessMode::Write)),
        EventKind::Create(CreateKind::File),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)),
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        EventKind::Remove(RemoveKind::Folder),
        EventKind::Other,
    ] {
        assert!(tells(kind), "{kind:?}");
    }
}

/// A watch that is told by hand, for the clock alone. What has a folder would look at once.
fn by_hand() -> ConfigWatch {
    let (_, mut watch) = mount(1);
    watch.poll_at = Instant::now() + POLL;
    watch
}

async fn time_until_due(watch: &mut ConfigWatch) -> Duration {
    let begun = Instant::now();
    watch.until_due().await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_notices_is_one_look() {
    let mut watch = by_hand();
    assert_eq!(time_until_due(&mut watch).await, POLL);

    let mut watch = by_hand();
    watch.events.notify_one();
    assert_eq!(time_until_due(&mut watch).await, DEBOUNCE);

    // Where notices never end, patience does.
    let mut watch = by_hand();
    let events = watch.events.clone();
    let notices = tokio::spawn(async move {
        loop {
            events.notify_one();
            tokio::time::sleep(DEBOUNCE / 2).await;
        }
    });
    assert_eq!(time_until_due(&mut watch).await, RETRY_TIMEOUT);
    notices.abort();

    let mut watch = by_hand();
    watch.events.notify_one();
    watch.trigger().notify_one();
    assert_eq!(time_until_due(&mut watch).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_waiting_is_given_up() {
    let mut watch = by_hand();
    let begun = Instant::now();
    watch.events.notify_one();
    while timeout(DEBOUNCE / 10, watch.until_due()).await.is_err() {}
    assert!(begun.elapsed() <= DEBOUNCE + DEBOUNCE / 10, "{:?}", begun.elapsed());
}
